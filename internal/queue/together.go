package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// flights is how many round trips of one client carry commands at the same time.
	flights = 1
	// flightFull is how many commands one of them carries at most.
	flightFull = 128
	// flightTime bounds one that carries commands of several callers.
	flightTime = 10 * time.Second
)

// errUnanswered is the error of a command up to its answer.
var errUnanswered = errors.New("redis did not answer")

// together is a hook that sends the commands which many goroutines give one Redis client at
// about the same time in one round trip. asynq sends three for each delivery, from as many
// goroutines as there are slots, and a round trip costs both ends more than the commands.
//
// Nobody waits for company: a command that finds no round trip under way goes at once, by
// itself and with its own context, and those that come meanwhile go together when it is
// back. The one that has waited longest sends them, so that there is no goroutine to own.
// Every command has its own answer.
//
//	Process ──none under way──> sent alone ─────────────────┐
//	   └──────────────────> waits ──> one of them sends all ─┴─> the next that wait
type together struct {
	client redis.UniversalClient

	mu      sync.Mutex
	flying  int // round trips under way
	waiting []*command
}

// command is one that waits.
type command struct {
	redis.Cmder
	// turn gets the commands that this one has to send, or none when it was sent.
	turn chan []*command
}

// sendTogether makes a client send together what is given to it together.
func sendTogether(client redis.UniversalClient) redis.UniversalClient {
	client.AddHook(&together{client: client})
	return client
}

// DialHook implements redis.Hook.
func (t *together) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook: pipelines go as they are.
func (t *together) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook. A command whose ctx ends before it is sent is withdrawn;
// after that its answer is awaited, for at most flightTime.
func (t *together) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if shakesHands(cmd) {
			return next(ctx, cmd)
		}
		wait := t.enter(cmd)
		if wait == nil {
			defer t.land()
			return next(ctx, cmd)
		}
		var batch []*command
		select {
		case batch = <-wait.turn:
		case <-ctx.Done():
			if t.withdraw(wait) {
				return ctx.Err()
			}
			batch = <-wait.turn
		}
		if batch != nil {
			t.send(batch)
		}
		return cmd.Err()
	}
}

// shakesHands tells commands that make a new connection ready, which hooks see, too: they
// belong to that one connection, and to a round trip that waits for it.
func shakesHands(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "hello", "auth":
		return true
	}
	return false
}

// enter returns nil when cmd is to be sent at once, which land has to follow.
func (t *together) enter(cmd redis.Cmder) *command {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flying < flights {
		t.flying++
		return nil
	}
	item := &command{Cmder: cmd, turn: make(chan []*command, 1)}
	t.waiting = append(t.waiting, item)
	return item
}

func (t *together) withdraw(item *command) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting, item)
	if i < 0 {
		return false
	}
	t.waiting = slices.Delete(t.waiting, i, i+1)
	return true
}

// land ends a round trip: what waits goes with the next one.
func (t *together) land() {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.waiting), flightFull)
	if n == 0 {
		t.flying--
		return
	}
	batch := slices.Clone(t.waiting[:n])
	t.waiting = slices.Delete(t.waiting, 0, n)
	batch[0].turn <- batch
}

// send sends a batch, and hands its answers out.
func (t *together) send(batch []*command) {
	ctx, cancel := context.WithTimeout(context.Background(), flightTime)
	defer cancel()
	pipe := t.client.Pipeline()
	for _, item := range batch {
		item.SetErr(errUnanswered)
		_ = pipe.Process(ctx, item.Cmder) // only keeps it
	}
	_, err := pipe.Exec(ctx)
	t.land()
	for _, item := range batch {
		// What was answered has its own error, or none; go-redis 9.14 leaves commands as they
		// were that found no connection.
		if err != nil && errors.Is(item.Err(), errUnanswered) {
			item.SetErr(err)
		}
	}
	for _, item := range batch[1:] {
		item.turn <- nil
	}
}
