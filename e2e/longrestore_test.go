package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestALongUploadGoesOnAfterAKill hangs the restore of a file of 96 MiB in its middle and kills its worker with SIGKILL. The next
// worker asks Microsoft where the upload stands and sends the rest; nothing tells the address of the upload, which is a credential.
// An upload whose restore is canceled is ended at Microsoft.
func TestALongUploadGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	const size, fragment = 96 << 20, 10 << 20
	f := newFleet(t, "--tenants", "0")
	var sim simTenant
	f.simulate("POST", "/tenants", map[string]any{"domain": "long.example", "users": 1, "filesPerUser": 1, "fileSize": size}, &sim)
	f.scheduler("scheduler")
	var programs []*process
	worker := func(name string) {
		p := f.worker(name, "TENANTRY_LOG_LEVEL=debug", "TENANTRY_DRAIN_TIME=1s")
		p.log.keepAll()
		programs = append(programs, p)
	}
	worker("first")
	tn := f.connect(sim)
	owner := f.users(tn, "drive")[0]
	f.awaitDone(tn, f.backupOf(tn, []string{"drive"}, owner))
	ask := map[string]any{"resource": owner.ID, "workload": "drive", "snapshot": f.latest(tn, owner, "drive").Seq, "folder": "Back"}

	hangs := f.fault(map[string]any{"method": "PUT", "path": "^/upload/", "kind": "slow", "delay": int64(10 * time.Minute), "nth": 5})
	r := f.restore(tn, ask)
	f.awaitStruck(hangs)
	f.started["first"].kill()
	if open := f.openUploads(); len(open) != 1 || open[0].Received != 4*fragment || open[0].Total != size {
		t.Fatalf("open uploads: %+v", open)
	}
	kept := 0
	spied := spied{t, map[string]string{"address of an upload": "/upload/", "address of an upload, in Base64": "L3VwbG9hZ"}}
	rows := f.eachRow(func(table, row string) {
		spied.lacks("the table "+table, row)
		if table == "uploads" {
			kept++
		}
	})
	if kept != 1 || rows["tasks"] == 0 {
		t.Errorf("%d uploads are kept", kept)
	}
	before := f.uploadedTo(sim)
	worker("second")
	f.awaitDone(tn, r)
	if sent := f.uploadedTo(sim) - before; sent != size-4*fragment {
		t.Errorf("%d bytes were sent to finish a file of %d of which %d were there", sent, size, 4*fragment)
	}
	var files []string
	for _, x := range f.truths(tn, strings.TrimPrefix(owner.ID, "u-"), "drive") {
		if !x.Folder {
			files = append(files, x.SHA256)
		}
	}
	if len(files) != 2 || files[0] != files[1] {
		t.Errorf("the file and what came back of it: %q", files)
	}

	// The same again elsewhere: its worker is told to stop and leaves it to others, and it is canceled before they come.
	ask["folder"] = "Canceled"
	hangs = f.fault(map[string]any{"method": "PUT", "path": "^/upload/", "kind": "slow", "delay": int64(10 * time.Minute), "nth": 3})
	r = f.restore(tn, ask)
	f.awaitStruck(hangs)
	f.started["second"].stop()
	if open := f.openUploads(); len(open) != 1 {
		t.Errorf("the restore that was left has the uploads %+v", open)
	}
	f.must("POST", "/tenants/"+tn.ID+"/runs/"+r.ID+"/cancel", nil, nil)
	if ended := f.awaitRun(tn, r); ended.State != "canceled" {
		t.Errorf("the restore is %s", ended.State)
	}
	worker("third")
	f.syncNow(tn)
	eventually(t, "the upload is ended", func() (bool, string) {
		open := f.openUploads()
		return len(open) == 0, fmt.Sprint(open)
	})
	eventually(t, "nothing is kept of it", func() (bool, string) {
		n := f.eachRow(func(string, string) {})["uploads"]
		return n == 0, fmt.Sprint(n)
	})
	for _, p := range programs {
		p.stop()
		if !strings.Contains(p.log.String(), "slice ended") && p != programs[0] {
			t.Errorf("the log of %s is not at its most talkative", p.name)
		}
		spied.lacks("the log of "+filepath.Base(p.name), p.log.String())
	}
}

// awaitStruck waits until a fault has struck.
func (f *fleet) awaitStruck(id string) {
	f.t.Helper()
	eventually(f.t, "the fault strikes", func() (bool, string) {
		var faults []struct {
			ID     string
			Struck int
		}
		f.simulate("GET", "/faults", nil, &faults)
		for _, fault := range faults {
			if fault.ID == id && fault.Struck > 0 {
				return true, ""
			}
		}
		return false, fmt.Sprint(faults)
	})
}

type openUpload struct{ Received, Total int64 }

// openUploads are the upload sessions that the simulator holds open.
func (f *fleet) openUploads() (open []openUpload) {
	f.t.Helper()
	f.simulate("GET", "/uploads", nil, &open)
	return open
}

// uploadedTo is how many bytes of contents the simulator was sent for a tenant.
func (f *fleet) uploadedTo(sim simTenant) (bytes int64) {
	f.t.Helper()
	var accounts []struct{ Used int64 }
	f.simulate("GET", "/accounts?kind=sharepoint.ingress&tenant="+sim.ID, nil, &accounts)
	for _, a := range accounts {
		bytes += a.Used
	}
	return bytes
}
