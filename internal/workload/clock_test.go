package workload

import "time"

// SetNow has the source of a group go by another clock.
func (s *groupSource[P]) SetNow(now func() time.Time) { s.now = now }
