package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// registrationEvery is how often a registration is looked at.
const registrationEvery = time.Second

func (c *connection) tenantsRegister() *cobra.Command {
	var ask apiclient.NewRegistration
	var cancel, show bool
	command := c.action("register TENANT", "Register an application in the tenant by device code: prints the code, and waits until an administrator has entered it", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			switch {
			case cancel:
				if _, err := client.CancelRegistrationWithResponse(cmd.Context(), args[0]); err != nil {
					return err
				}
			case !show:
				if _, err := client.StartRegistrationWithResponse(cmd.Context(), args[0], ask); err != nil && !underWay(cmd, client, args[0], ask, err) {
					return err
				}
			}
			return followRegistration(cmd, client, args[0], !show)
		})
	command.Flags().StringVar(&ask.Name, "name", "", "of the application, as the customer sees it (default the tenant's)")
	command.Flags().BoolVar(&ask.Restore, "restore", false, "with the permissions to write, for restores")
	command.Flags().BoolVar(&cancel, "cancel", false, "give it up, and delete what it made")
	command.Flags().BoolVar(&show, "show", false, "only show how far it is")
	command.MarkFlagsMutuallyExclusive("cancel", "show")
	return command
}

// underWay tells that a registration was refused because the very one that is asked for is under way: somebody left
// the command before its end, and goes on by typing it again.
func underWay(cmd *cobra.Command, client *apiclient.ClientWithResponses, tenant string, ask apiclient.NewRegistration, refused error) bool {
	if tenantry.KindOf(refused) != tenantry.Conflict {
		return false
	}
	answer, err := client.GetRegistrationWithResponse(cmd.Context(), tenant)
	if err != nil {
		return false
	}
	r := answer.JSON200
	switch r.State {
	case apiclient.RegistrationStateDone, apiclient.RegistrationStateFailed, apiclient.RegistrationStateUndoing, apiclient.RegistrationStateUndone:
		return false
	}
	return (ask.Name == "" || ask.Name == r.Name) && ask.Restore == r.Restore
}

// followRegistration shows each state of a registration once, until it has ended.
func followRegistration(cmd *cobra.Command, client *apiclient.ClientWithResponses, tenant string, follow bool) error {
	tick := time.NewTicker(registrationEvery)
	defer tick.Stop()
	for seen := ""; ; {
		answer, err := client.GetRegistrationWithResponse(cmd.Context(), tenant)
		if err != nil {
			return err
		}
		r := answer.JSON200
		if string(r.State) != seen {
			seen = string(r.State)
			cmd.Println(seen)
			if r.Code != "" {
				cmd.Printf("An administrator of the tenant opens %s and enters the code %s, until %s.\n", r.Page, r.Code, when(r.Expires))
			}
		}
		switch r.State {
		case apiclient.RegistrationStateDone:
			return nil
		case apiclient.RegistrationStateUndone:
			if r.Remedy != "" {
				cmd.Println(r.Reason + ": " + r.Remedy)
			}
			return nil
		case apiclient.RegistrationStateFailed:
			return fmt.Errorf("%s: %s", r.Reason, r.Remedy)
		}
		if !follow {
			return nil
		}
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-tick.C:
		}
	}
}
