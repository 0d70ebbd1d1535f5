package queue

import "fmt"

// asynqLog lets asynq speak through our logger, one level lower for its chatter.
// Fatal does not end the process: only main does that.
type asynqLog struct{ log Logger }

func (l asynqLog) Debug(args ...any) { l.log.Debugw("asynq: " + fmt.Sprint(args...)) }
func (l asynqLog) Info(args ...any)  { l.log.Debugw("asynq: " + fmt.Sprint(args...)) }
func (l asynqLog) Warn(args ...any)  { l.log.Warnw("asynq: " + fmt.Sprint(args...)) }
func (l asynqLog) Error(args ...any) { l.log.Errorw("asynq: " + fmt.Sprint(args...)) }
func (l asynqLog) Fatal(args ...any) { l.log.Errorw("asynq: " + fmt.Sprint(args...)) }
