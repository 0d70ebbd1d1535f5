package api

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// ItemFailure is an item that a task of a run could not save or write.
type ItemFailure struct {
	Task         tenantry.TaskID     `json:"task"`
	Resource     tenantry.ResourceID `json:"resource,omitempty"`
	ResourceName string              `json:"resource_name,omitempty" doc:"What people call it"`
	Workload     tenantry.Workload   `json:"workload,omitempty"`
	ItemProblem
}

func itemFailure(f catalog.ItemFailure) ItemFailure {
	next := f.NextBackup
	if f.Task.State == catalog.TaskReady || f.Task.State == catalog.TaskAdmitted || f.Task.State == catalog.TaskRunning {
		next = time.Time{}
		if f.Task.State == catalog.TaskReady {
			next = f.Task.NotBefore
		}
	}
	return ItemFailure{Task: f.TaskID, Resource: f.Task.Resource, Workload: f.Task.Workload, ItemProblem: itemProblem(f.Problem, f.Task, next)}
}

func (s *service) listFailures(ctx context.Context, in *listTasksInput) (*body[Page[ItemFailure]], error) {
	after, err := failureCursor(in.After)
	if err != nil {
		return nil, err
	}
	t, row, err := s.run(ctx, in.RunPath)
	if err != nil {
		return nil, err
	}
	rows, err := t.RunFailures(ctx, row.ID, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return paged(rows, in.Limit, itemFailure, func(f catalog.ItemFailure) string {
		return string(f.TaskID) + "." + strconv.Itoa(f.N)
	}), nil
}

// failureCursor reads the cursor of a listing of failures.
func failureCursor(after string) (catalog.FailureCursor, error) {
	if after == "" {
		return catalog.FailureCursor{}, nil
	}
	task, number, _ := strings.Cut(after, ".")
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil || task == "" {
		return catalog.FailureCursor{}, noCursor(after)
	}
	return catalog.FailureCursor{TaskID: tenantry.TaskID(task), N: int(n)}, nil
}
