package e2e

import "fmt"

// workload is how far one workload of a tenant is.
type workload struct {
	Workload   string `json:"workload"`
	Enabled    bool   `json:"enabled"`
	State      string `json:"state"`
	Reason     string `json:"reason"`
	Remedy     string `json:"remedy"`
	Eligible   int64  `json:"eligible"`
	ConsentURL string `json:"consent_url"`
	Backup     struct {
		Ready  bool   `json:"ready"`
		Reason string `json:"reason"`
	} `json:"backup"`
	Restore struct {
		Ready  bool   `json:"ready"`
		Reason string `json:"reason"`
	} `json:"restore"`
}

// workloads returns the workloads of a tenant by name.
func (f *fleet) workloads(t tenant) map[string]workload {
	f.t.Helper()
	all := map[string]workload{}
	var found struct {
		Items []workload `json:"items"`
	}
	f.must("GET", "/tenants/"+t.ID+"/workloads", nil, &found)
	for _, w := range found.Items {
		all[w.Workload] = w
	}
	return all
}

// awaitWorkload waits until a workload of a tenant is in a state.
func (f *fleet) awaitWorkload(t tenant, name, state string) workload {
	f.t.Helper()
	var w workload
	eventually(f.t, fmt.Sprintf("%s of %s is %s", name, t.Name, state), func() (bool, string) {
		w = f.workloads(t)[name]
		return w.State == state, w.State + ": " + w.Reason
	})
	return w
}

// enable enables workloads of a tenant, all of them if none is named, and returns the page where what is
// missing is consented to, "" if nothing is.
func (f *fleet) enable(t tenant, workloads ...string) (consent string) {
	f.t.Helper()
	if len(workloads) == 0 {
		workloads = []string{"mailbox", "drive", "site", "group", "team"}
	}
	for _, name := range workloads {
		var w workload
		f.must("POST", "/tenants/"+t.ID+"/workloads/"+name+"/enable", nil, &w)
		if w.ConsentURL != "" {
			consent = w.ConsentURL
		}
	}
	return consent
}

// registration is how far the registration of an application in a customer's tenant is.
type registration struct {
	State  string `json:"state"`
	Code   string `json:"code"`
	Client string `json:"client_id"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
}

func (f *fleet) registration(t tenant) registration {
	f.t.Helper()
	var r registration
	f.must("GET", "/tenants/"+t.ID+"/registration", nil, &r)
	return r
}

// awaitRegistration waits until a registration is in a state.
func (f *fleet) awaitRegistration(t tenant, state string) registration {
	f.t.Helper()
	var r registration
	eventually(f.t, "the registration in "+t.Name+" is "+state, func() (bool, string) {
		r = f.registration(t)
		return r.State == state, fmt.Sprintf("%+v", r)
	})
	return r
}

// enterCode signs an administrator of the tenant in with a device code.
func (f *fleet) enterCode(t tenant, code string) {
	f.t.Helper()
	f.simulate("POST", "/device", map[string]any{"userCode": code, "tenant": t.sim.ID}, nil)
}
