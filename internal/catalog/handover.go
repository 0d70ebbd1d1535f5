package catalog

import (
	"context"
	"slices"
)

// handover is what a worker asks at one end of a slice: a claim, or a settlement.
type handover struct {
	claim  *claimAsk
	settle *settleAsk
}

// handOver answers claims and settlements in one transaction: a busy worker settles tasks while
// it claims the next ones, and most of what a transaction costs does not depend on how many
// they are. A claim that comes with the settlement that frees its series finds it free.
//
//	tasks are taken and ended -> series are freed, then owned -> what else settlements mean
func (c *Catalog) handOver(ctx context.Context, asked []handover) (replies []reply[Claim], err error) {
	var claims *claiming
	var settlements *settling
	err = c.transact(ctx, "claim and settle tasks", func(ctx context.Context, tx stepper) ([]step, error) {
		claims, settlements = apart(asked)
		if err := tx.run(ctx, slices.Concat(claims.begin(c), settlements.begin(c))...); err != nil {
			return nil, err
		}
		if err := tx.run(ctx, settlements.cancel(c)...); err != nil {
			return nil, err
		}
		claims.answer()
		writers := claims.writers()
		last := c.freeSeries(settlements.settled(), writers)
		if len(writers) > 0 {
			if err := c.ownSeries(ctx, tx, last, writers); err != nil {
				return nil, err
			}
			last = nil
		}
		replies = together(asked, claims.replies, settlements.answers())
		return append(last, settlements.book(c)...), nil
	})
	if err == nil && settlements.tallied {
		c.tally.add(settlements.settled())
	}
	return replies, err
}

// apart sorts questions by what they ask, each kind in its order.
func apart(asked []handover) (*claiming, *settling) {
	var claims []*claimAsk
	var settlements []*settleAsk
	for _, q := range asked {
		if q.claim != nil {
			claims = append(claims, q.claim)
		} else {
			settlements = append(settlements, q.settle)
		}
	}
	return newClaiming(claims), newSettling(settlements)
}

// together is the inverse of apart for their answers.
func together(asked []handover, claims []reply[Claim], settlements []error) []reply[Claim] {
	replies := make([]reply[Claim], len(asked))
	for i, q := range asked {
		if q.claim != nil {
			replies[i], claims = claims[0], claims[1:]
		} else {
			replies[i].err, settlements = settlements[0], settlements[1:]
		}
	}
	return replies
}
