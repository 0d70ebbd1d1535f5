package repository_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestResumeAndTakeOver(t *testing.T) {
	backends(t, func(t *testing.T, p place) {
		ctx := t.Context()
		r := p.open(t)
		w := begin(t, r, 1, "task-1")
		message(t, w, 1)
		w.SetCursor("c", repository.Cursor{Link: "page 2"})
		must(t, w.Checkpoint(ctx))
		message(t, w, 2) // never committed
		w.Close()

		// The same owner goes on without a commit.
		w = begin(t, r, 1, "task-1")
		head, err := r.Head(ctx, mailbox)
		must(t, err)
		if head.Seq != 1 || head.Sealed || head.Epoch != 1 || head.Task != "task-1" {
			t.Errorf("head %+v", head)
		}
		if c, ok := w.Cursor("c"); !ok || c.Link != "page 2" {
			t.Errorf("cursor %+v, %v", c, ok)
		}
		if _, ok, err := w.Lookup(ctx, messageID(1)); !ok || err != nil {
			t.Errorf("what was committed: %v, %v", ok, err)
		}
		if _, ok, err := w.Lookup(ctx, messageID(2)); ok || err != nil {
			t.Errorf("what was not committed: %v, %v", ok, err)
		}
		message(t, w, 3)

		// Another takes over: the first can commit no more, neither open nor sealed.
		w2 := begin(t, r, 2, "task-1")
		head, err = r.Head(ctx, mailbox)
		must(t, err)
		if head.Seq != 2 || head.Epoch != 2 {
			t.Errorf("head after the takeover: %+v", head)
		}
		wantKind(t, w.Checkpoint(ctx), tenantry.Fenced)
		_, err = w.Seal(ctx, noon)
		wantKind(t, err, tenantry.Fenced)
		_, _, err = w.Lookup(ctx, messageID(1))
		wantKind(t, err, tenantry.Fenced)
		_, err = r.Begin(ctx, mailbox, repository.Fence{Epoch: 1, Task: "task-1"})
		wantKind(t, err, tenantry.Fenced)

		message(t, w2, 4)
		s := seal(t, w2)
		rd := snapshot(t, r, s.Seq)
		checkMessage(t, rd, 1)
		checkMessage(t, rd, 4)
		diff(t, "entries", ids(t, rd), []string{messageID(1), messageID(4)})

		// The task comes again, after its answer was lost: there is only to settle.
		w3 := begin(t, r, 3, "task-1")
		got, ok := w3.SealedByTask()
		if !ok {
			t.Fatal("the task has sealed it and is not told")
		}
		diff(t, "snapshot", got, s)
		w4 := begin(t, r, 3, "task-2")
		if _, ok := w4.SealedByTask(); ok {
			t.Error("another task is told that it has sealed")
		}
		// A checkpoint is no snapshot.
		_, err = r.OpenSnapshot(ctx, mailbox, 1)
		wantKind(t, err, tenantry.NotFound)
	})
}

// The network loses the commit's answer, or the request, or says 409 or 503: it counts
// exactly once.
func TestCommitWhateverTheNetworkDoes(t *testing.T) {
	get := func(after, times int) *blobtest.Fault {
		return &blobtest.Fault{Ops: []blobtest.Op{blobtest.OpGet}, Key: "/m/", After: after, Times: times, Mode: blobtest.Fail}
	}
	cases := []struct {
		name   string
		rounds int
		faults func() []*blobtest.Fault
	}{
		{"answer lost", 12, func() []*blobtest.Fault { return []*blobtest.Fault{commitFault(blobtest.LoseAnswer, 1, nil)} }},
		{"answer lost, as 412", 4, func() []*blobtest.Fault {
			return []*blobtest.Fault{commitFault(blobtest.LoseAnswer, 1, blob.ErrExists)}
		}},
		{"request lost", 12, func() []*blobtest.Fault { return []*blobtest.Fault{commitFault(blobtest.Fail, 1, nil)} }},
		{"request lost 3 times", 4, func() []*blobtest.Fault { return []*blobtest.Fault{commitFault(blobtest.Fail, 3, nil)} }},
		// The first GET is Begin's.
		{"answer lost, reads fail twice", 4, func() []*blobtest.Fault {
			return []*blobtest.Fault{commitFault(blobtest.LoseAnswer, 1, nil), get(1, 2)}
		}},
	}
	backends(t, func(t *testing.T, p place) {
		clean := p.open(t)
		seal(t, begin(t, clean, 1, "first"))
		epoch := int64(1)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				for range c.rounds {
					epoch++
					before, err := clean.Head(t.Context(), mailbox)
					must(t, err)
					store := blobtest.NewFaulty(p.store(t))
					r := openOver(t, p, store)
					for _, f := range c.faults() {
						store.Add(f)
					}
					w := begin(t, r, epoch, tenantry.TaskID(fmt.Sprint("task-", epoch)))
					message(t, w, int(epoch))
					s := seal(t, w)
					w.Close()
					after, err := clean.Head(t.Context(), mailbox)
					must(t, err)
					if s.Seq != before.Seq+1 || after.Seq != s.Seq || !after.Sealed || len(after.Live) != len(before.Live)+1 {
						t.Fatalf("before %+v, sealed %d, after %+v", before, s.Seq, after)
					}
					checkMessage(t, snapshot(t, clean, s.Seq), int(epoch))
				}
			})
		}
	})
}

func commitFault(mode blobtest.Mode, times int, err error) *blobtest.Fault {
	return &blobtest.Fault{Ops: []blobtest.Op{blobtest.OpPutIfAbsent}, Key: "/m/", Times: times, Mode: mode, Err: err}
}

// A store that stays away: the outcome is unknown, the writer void, and the next claim
// reads the truth.
func TestCommitWithoutAnswer(t *testing.T) {
	p := folder(t)
	store := blobtest.NewFaulty(p.store(t))
	r := openOver(t, p, store)
	w := begin(t, r, 1, "task-1")
	message(t, w, 1)
	must(t, w.Checkpoint(t.Context()))
	message(t, w, 2)
	store.DieAfter(1, true) // the pack, then the manifest without an answer
	_, err := w.Seal(t.Context(), noon)
	wantKind(t, err, tenantry.Transient)
	must2 := w.Put(t.Context(), repository.Entry{ID: "x"})
	wantKind(t, must2, tenantry.Transient)
	w.Close()

	r = p.open(t)
	w = begin(t, r, 2, "task-1")
	head, err := r.Head(t.Context(), mailbox)
	must(t, err)
	if _, ok := w.SealedByTask(); ok != head.Sealed {
		t.Errorf("told sealed: %v, the bucket says %v", ok, head.Sealed)
	}
}

// The store is full or shut in the middle of a run: the cause comes through, nothing
// committed is lost, and when there is room again the series goes on.
func TestStoreThatRefuses(t *testing.T) {
	p := folder(t)
	full := tenantry.Errorf(tenantry.Shared, "disk full")
	for i, key := range []string{"/p/", "/c/", "/m/"} {
		store := blobtest.NewFaulty(p.store(t))
		r := openOver(t, p, store)
		epoch := int64(2*i + 1)
		w := begin(t, r, epoch, "task")
		message(t, w, i)
		must(t, w.Checkpoint(t.Context()))
		store.Add(&blobtest.Fault{Ops: []blobtest.Op{blobtest.OpPut, blobtest.OpPutIfAbsent}, Key: key, Mode: blobtest.Fail, Err: full})
		ref, err := w.PutPayload(t.Context(), mail(100, 500))
		must(t, err)
		_, err = w.PutContent(t.Context(), bytes.NewReader(noise(i, 200_000)))
		if key == "/c/" {
			wantKind(t, err, tenantry.Shared)
		} else {
			must(t, err)
		}
		must(t, w.Put(t.Context(), repository.Entry{ID: "refused", Payload: ref}))
		if key != "/c/" {
			wantKind(t, w.Checkpoint(t.Context()), tenantry.Shared)
			wantKind(t, w.Put(t.Context(), repository.Entry{ID: "later"}), tenantry.Shared)
		}
		w.Close()

		w = begin(t, p.open(t), epoch+1, "task")
		if _, ok, err := w.Lookup(t.Context(), "refused"); ok || err != nil {
			t.Errorf("%s: what was refused is there: %v, %v", key, ok, err)
		}
		for j := range i + 1 {
			if _, ok, err := w.Lookup(t.Context(), messageID(j)); !ok || err != nil {
				t.Errorf("%s: message %d was committed: %v, %v", key, j, ok, err)
			}
		}
		must(t, w.Checkpoint(t.Context()))
		w.Close()
	}
}

// A worker is stopped in the middle of its commit and wakes up after another has taken over.
func TestZombieWakesLate(t *testing.T) {
	backends(t, func(t *testing.T, p place) {
		for round := range 12 {
			ctx := t.Context()
			epoch := int64(2*round + 1)
			store := blobtest.NewFaulty(p.store(t))
			r := openOver(t, p, store)
			zombie := begin(t, r, epoch, tenantry.TaskID(fmt.Sprint("zombie-", round)))
			message(t, zombie, 10*round+1)
			must(t, zombie.Checkpoint(ctx))
			message(t, zombie, 10*round+2)
			sleep := &blobtest.Fault{
				Ops: []blobtest.Op{blobtest.OpPutIfAbsent}, Key: "/m/", Times: 1, Mode: blobtest.Wait,
				Reached: make(chan struct{}, 1), Release: make(chan struct{}),
			}
			store.Add(sleep)
			woken := make(chan error, 1)
			go func() {
				_, err := zombie.Seal(ctx, noon)
				woken <- err
			}()
			<-sleep.Reached

			owner := begin(t, p.open(t), epoch+1, tenantry.TaskID(fmt.Sprint("owner-", round)))
			message(t, owner, 10*round+3)
			if round%2 == 0 { // it wakes before or after the owner has sealed
				close(sleep.Release)
				wantKind(t, <-woken, tenantry.Fenced)
			}
			s := seal(t, owner)
			if round%2 == 1 {
				close(sleep.Release)
				wantKind(t, <-woken, tenantry.Fenced)
			}
			rd := snapshot(t, r, s.Seq)
			checkMessage(t, rd, 10*round+1)
			checkMessage(t, rd, 10*round+3)
			if _, ok, err := rd.Lookup(ctx, messageID(10*round+2)); ok || err != nil {
				t.Errorf("what the zombie had in memory is in the snapshot: %v, %v", ok, err)
			}
		}
	})
}

const helperEnv = "REPOSITORY_TEST_HELPER"

// helperJob tells a helper process what to do.
type helperJob struct {
	URL, KeyFile, AccessKey, SecretKey string
	Rounds                             int
	Who                                int
	Commits                            bool // commit one item after another instead, until killed
}

// helperSays is one line of a helper's answers.
type helperSays struct {
	Ready bool
	Seq   int64
	Kind  tenantry.Kind
	Error string
}

// helper runs in a child process: per round it begins, says that it is ready, waits for
// a line, seals, and says what became of it.
func helper() int {
	var job helperJob
	if err := json.Unmarshal([]byte(os.Getenv(helperEnv)), &job); err != nil {
		return 2
	}
	out, in := json.NewEncoder(os.Stdout), bufio.NewScanner(os.Stdin)
	if job.Commits {
		err := job.commits(func(seq int64) { _ = out.Encode(helperSays{Seq: seq}) })
		_ = out.Encode(helperSays{Kind: tenantry.KindOf(err), Error: fmt.Sprint(err)})
		return 1
	}
	for round := range job.Rounds {
		seq, err := job.race(round, func() { _ = out.Encode(helperSays{Ready: true}); in.Scan() })
		says := helperSays{Seq: seq, Kind: tenantry.KindOf(err)}
		if err != nil {
			says.Error = err.Error()
		}
		_ = out.Encode(says)
		in.Scan()
	}
	return 0
}

// open opens what the job names, as a worker does.
func (job helperJob) open(ctx context.Context) (*repository.Repository, io.Closer, error) {
	store, err := blob.Open(ctx, job.URL, blob.S3Options{AccessKey: job.AccessKey, SecretKey: tenantry.NewSecret(job.SecretKey)})
	if err != nil {
		return nil, nil, err
	}
	ring, err := repository.OpenKeyFile(job.KeyFile, true)
	if err != nil {
		return nil, nil, err
	}
	r, err := repository.Open(ctx, store, ring, tenant)
	return r, store.(io.Closer), err
}

// commits puts one item after another and commits each, saying so, for ever.
func (job helperJob) commits(said func(int64)) error {
	ctx := context.Background()
	r, _, err := job.open(ctx)
	if err != nil {
		return err
	}
	w, err := r.Begin(ctx, mailbox, repository.Fence{Epoch: int64(job.Who), Task: tenantry.TaskID(fmt.Sprint("task-", job.Who))})
	if err != nil {
		return err
	}
	for i := int64(0); ; i++ {
		ref, err := w.PutPayload(ctx, racePayload(job.Who, int(i)))
		if err != nil {
			return err
		}
		part, err := w.PutContent(ctx, bytes.NewReader(noise(int(i), 150_000)))
		if err != nil {
			return err
		}
		if err := w.Put(ctx, repository.Entry{ID: raceID(job.Who, int(i)), Payload: ref, Parts: []repository.Part{part}}); err != nil {
			return err
		}
		if err := w.Checkpoint(ctx); err != nil {
			return err
		}
		said(i)
	}
}

func (job helperJob) race(round int, ready func()) (int64, error) {
	ctx := context.Background()
	r, store, err := job.open(ctx)
	if err != nil {
		return 0, err
	}
	defer store.Close()
	// Both hold the same epoch: what SQL would prevent, the manifests must decide.
	w, err := r.Begin(ctx, mailbox, repository.Fence{Epoch: int64(round + 1), Task: tenantry.TaskID(fmt.Sprintf("task-%d-%d", round, job.Who))})
	if err != nil {
		return 0, err
	}
	defer w.Close()
	ref, err := w.PutPayload(ctx, racePayload(round, job.Who))
	if err != nil {
		return 0, err
	}
	if err := w.Put(ctx, repository.Entry{ID: raceID(round, job.Who), Payload: ref}); err != nil {
		return 0, err
	}
	ready()
	s, err := w.Seal(ctx, noon)
	return s.Seq, err
}

func raceID(round, who int) string { return fmt.Sprintf("round-%02d-process-%d", round, who) }

func racePayload(round, who int) []byte { return mail(round*10+who, 3000) }

// Two processes that hold the same fence commit at the same moment: one wins, each time.
// From the first round on: they also create the key file and the key object together.
func TestRacingProcesses(t *testing.T) {
	backends(t, func(t *testing.T, p place) {
		const rounds = 12
		job := helperJob{URL: p.url, KeyFile: p.keyFile, AccessKey: p.s3.AccessKey, SecretKey: p.s3.SecretKey.Reveal(), Rounds: rounds}
		racers := []*racer{startRacer(t, job, 0), startRacer(t, job, 1)}
		var winners []string
		for round := range rounds {
			for _, r := range racers {
				if says := r.hear(t); !says.Ready {
					t.Fatalf("round %d: process %d: %s", round, r.who, says.Error)
				}
			}
			for _, r := range racers {
				r.tell(t)
			}
			for _, r := range racers {
				says := r.hear(t)
				switch {
				case says.Kind == "" && says.Seq == int64(round+1):
					winners = append(winners, raceID(round, r.who))
				case says.Kind != tenantry.Fenced:
					t.Fatalf("round %d: process %d: %+v", round, r.who, says)
				}
			}
			if len(winners) != round+1 {
				t.Fatalf("round %d: %d winners so far: %v", round, len(winners), winners)
			}
			for _, r := range racers {
				r.tell(t)
			}
		}
		repo := p.open(t)
		live, err := repo.Snapshots(t.Context(), mailbox)
		must(t, err)
		if len(live) != rounds {
			t.Fatalf("%d live snapshots", len(live))
		}
		for _, s := range live {
			rd := snapshot(t, repo, s.Seq)
			diff(t, "entries", ids(t, rd), slices.Clone(winners[:s.Seq]))
			for e, err := range rd.Entries(t.Context()) {
				must(t, err)
				var round, who int
				_, err = fmt.Sscanf(e.ID, "round-%02d-process-%d", &round, &who)
				must(t, err)
				if got, err := rd.Payload(t.Context(), e); err != nil || !bytes.Equal(got, racePayload(round, who)) {
					t.Fatalf("%s: %d bytes, %v", e.ID, len(got), err)
				}
			}
		}
	})
}

// A real process is killed with SIGKILL while it commits: what it said was committed is
// there and whole, and beyond that at most the commit it was at.
func TestKilledProcess(t *testing.T) {
	backends(t, func(t *testing.T, p place) {
		const rounds = 12
		committed := 0
		for round := 1; round <= rounds; round++ {
			worker := startRacer(t, helperJob{
				URL: p.url, KeyFile: p.keyFile, AccessKey: p.s3.AccessKey, SecretKey: p.s3.SecretKey.Reveal(), Commits: true,
			}, round)
			heard := -1
			for heard < round%4 {
				says := worker.hear(t)
				if says.Error != "" {
					t.Fatalf("round %d: %s", round, says.Error)
				}
				heard = int(says.Seq)
			}
			must(t, worker.cmd.Process.Kill())
			for { // what it had said before it died
				var says helperSays
				if worker.out.Decode(&says) != nil {
					break
				}
				heard = int(says.Seq)
			}
			w := begin(t, p.open(t), int64(round), tenantry.TaskID(fmt.Sprint("task-", round)))
			n := 0
			for _, err := range w.Entries(t.Context()) {
				must(t, err)
				n++
			}
			if mine := n - committed; mine != heard+1 && mine != heard+2 {
				t.Fatalf("round %d: %d items of the killed process, it said %d", round, mine, heard+1)
			}
			committed = n
			w.Close()
		}
		w := begin(t, p.open(t), rounds+1, "last")
		s := seal(t, w)
		checked, err := p.open(t).Check(t.Context(), mailbox, s.Seq, func(p repository.Problem) { t.Errorf("problem: %+v", p) })
		must(t, err)
		if checked.Items != int64(committed) {
			t.Errorf("%d items checked of %d", checked.Items, committed)
		}
	})
}

type racer struct {
	cmd *exec.Cmd
	who int
	in  io.Writer
	out *json.Decoder
}

func startRacer(t *testing.T, job helperJob, who int) *racer {
	t.Helper()
	job.Who = who
	text, err := json.Marshal(job)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &racer{cmd: cmd, who: who, in: in, out: json.NewDecoder(out)}
}

func (r *racer) hear(t *testing.T) helperSays {
	t.Helper()
	var says helperSays
	must(t, r.out.Decode(&says))
	return says
}

func (r *racer) tell(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(r.in, "\n")
	must(t, err)
}

// A writer that slept until its successors' manifests were swept does not take one of their numbers.
func TestLateWriterTakesNoSweptNumber(t *testing.T) {
	ctx := t.Context()
	p := folder(t)
	r := openOver(t, p, blobtest.NewMemory())
	var slept time.Duration
	repository.SetClock(r, func() time.Time { return time.Now().Add(slept) })
	late := begin(t, r, 1, "late")
	other := begin(t, r, 2, "other")
	other.SetCursor("inbox", repository.Cursor{Link: "page 2"})
	must(t, other.Checkpoint(ctx)) // the number that the late one would take
	seal(t, other)
	slept = 8 * time.Hour
	freed, err := begin(t, r, 3, "prune").Sweep(ctx)
	must(t, err)
	if freed.Objects == 0 {
		t.Fatal("nothing was swept, so no number was free")
	}
	_, err = late.Seal(ctx, noon)
	wantKind(t, err, tenantry.Fenced)
}
