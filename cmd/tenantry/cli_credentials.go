package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
)

func credentialsCommand(c *connection) *cobra.Command {
	return group("credentials", "Applications of Entra and what proves them: a tenant's own, or (TENANT is fleet) the provider's",
		c.credentialsList(), c.credentialsAdd(), c.credentialsRotate(), c.credentialsRemove())
}

// fleetOwner is what stands for the provider in place of a tenant.
const fleetOwner = "fleet"

func (c *connection) credentialsList() *cobra.Command {
	return c.action("list TENANT|fleet", "List credentials, and what is wrong with them", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			var found []apiclient.Credential
			if args[0] == fleetOwner {
				answer, err := client.ListFleetCredentialsWithResponse(cmd.Context())
				if err != nil {
					return err
				}
				found = answer.JSON200.Items
			} else {
				answer, err := client.ListCredentialsWithResponse(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				found = answer.JSON200.Items
			}
			var rows [][]string
			for _, cr := range found {
				rows = append(rows, credentialRow(cr))
			}
			return table(cmd, credentialHeader, rows, false)
		})
}

const credentialHeader = "ID PURPOSE KIND APPLICATION LABEL ADDED EXPIRES ACCEPTED WARNING"

func credentialRow(c apiclient.Credential) []string {
	var say []string
	if !c.Rotating.IsZero() {
		say = append(say, "to be rotated since "+when(c.Rotating))
	}
	for _, text := range []string{c.Warning, c.Stuck} {
		if text != "" {
			say = append(say, text)
		}
	}
	return []string{c.Id, string(c.Purpose), string(c.Kind), c.ClientId, c.Label, when(c.Added), when(c.Expires), when(c.Accepted), strings.Join(say, "; ")}
}

func (c *connection) credentialsRotate() *cobra.Command {
	return c.action("rotate TENANT", "Rotate the certificate of the application that was registered in the tenant now; it takes some minutes, and the old one goes a week later", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.RotateCredentialWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return table(cmd, credentialHeader, [][]string{credentialRow(*answer.JSON200)}, false)
		})
}

// credentialFlags is what a credential is made of on the command line; secrets come from files.
type credentialFlags struct {
	kind, purpose, client, label, file, expires string
}

func (c *connection) credentialsAdd() *cobra.Command {
	var f credentialFlags
	command := c.action("add TENANT|fleet", "Add a credential; a secret or certificate is read from a file, or from standard input (-)", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			body, err := f.body(cmd.InOrStdin())
			if err != nil {
				return err
			}
			added, err := addCredential(cmd.Context(), client, args[0], body)
			if err != nil {
				return err
			}
			return table(cmd, credentialHeader, [][]string{credentialRow(*added)}, false)
		})
	command.Flags().StringVar(&f.kind, "kind", "secret", "secret, certificate or federated")
	command.Flags().StringVar(&f.purpose, "purpose", "backup", "backup, or restore: a second application that may write")
	command.Flags().StringVar(&f.client, "client-id", "", "the application (client) ID that Entra shows")
	command.Flags().StringVar(&f.label, "label", "", "what people call it")
	command.Flags().StringVar(&f.file, "from", "", "FILE with the secret, or with the PEM of certificate and key; - is standard input")
	command.Flags().StringVar(&f.expires, "expires", "", "day on which a secret ends, YYYY-MM-DD, to be warned in time")
	_ = command.MarkFlagRequired("client-id") // fails only for a flag that does not exist
	return command
}

func (f credentialFlags) body(in io.Reader) (apiclient.NewCredential, error) {
	n := apiclient.NewCredential{
		Kind: apiclient.NewCredentialKind(f.kind), Purpose: apiclient.NewCredentialPurpose(f.purpose), ClientId: f.client, Label: f.label,
	}
	if f.expires != "" {
		at, err := time.Parse(time.DateOnly, f.expires)
		if err != nil {
			return n, fmt.Errorf("--expires: not a day like 2027-11-21")
		}
		n.Expires = at
	}
	if f.file == "" {
		return n, nil
	}
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return n, err
		}
		defer func() { _ = file.Close() }() // it was only read
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, 64<<10))
	if err != nil {
		return n, err
	}
	if f.kind == "certificate" {
		n.Certificate = string(text)
	} else {
		n.Secret = strings.TrimSpace(string(text))
	}
	return n, nil
}

func addCredential(ctx context.Context, client *apiclient.ClientWithResponses, owner string, body apiclient.NewCredential) (*apiclient.Credential, error) {
	if owner == fleetOwner {
		answer, err := client.AddFleetCredentialWithResponse(ctx, body)
		if err != nil {
			return nil, err
		}
		return answer.JSON201, nil
	}
	answer, err := client.AddCredentialWithResponse(ctx, owner, body)
	if err != nil {
		return nil, err
	}
	return answer.JSON201, nil
}

func (c *connection) credentialsRemove() *cobra.Command {
	return c.action("remove TENANT|fleet CREDENTIAL", "Remove a credential", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			if args[0] == fleetOwner {
				_, err := client.RemoveFleetCredentialWithResponse(cmd.Context(), args[1])
				return err
			}
			_, err := client.RemoveCredentialWithResponse(cmd.Context(), args[0], args[1])
			return err
		})
}
