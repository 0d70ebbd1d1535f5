package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func snapshotsCommand(c *connection) *cobra.Command {
	command := listing(c, "snapshots TENANT RESOURCE WORKLOAD", "List the snapshots of a mailbox or drive, newest first", "SNAPSHOT TIME ITEMS READ STORED",
		func(a asking) ([]apiclient.Snapshot, string, error) {
			answer, err := a.client.ListSnapshotsWithResponse(a.ctx, a.args[0], a.args[1],
				apiclient.ListSnapshotsParamsWorkload(a.args[2]), &apiclient.ListSnapshotsParams{After: a.after, Limit: a.limit})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		func(s apiclient.Snapshot) []string {
			return []string{count(s.Seq), when(s.Time), progress(s.Counts), byteSize(s.Counts.Bytes), byteSize(s.Counts.Stored)}
		})
	command.AddCommand(rebuildCommand())
	return command
}

func browseCommand(c *connection) *cobra.Command {
	var folder string
	command := listing(c, "browse TENANT RESOURCE WORKLOAD SNAPSHOT", "List what lies in a folder of a snapshot", "KIND NAME SIZE MODIFIED ID PROBLEM",
		func(a asking) ([]apiclient.BrowseItem, string, error) {
			seq, err := snapshotArg(a.args[3])
			if err != nil {
				return nil, "", err
			}
			answer, err := a.client.BrowseItemsWithResponse(a.ctx, a.args[0], a.args[1], apiclient.BrowseItemsParamsWorkload(a.args[2]), seq,
				&apiclient.BrowseItemsParams{After: a.after, Limit: a.limit, Parent: given[string](folder)})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		func(i apiclient.BrowseItem) []string {
			return []string{i.Kind, i.Name, byteSize(i.Size), when(i.Modified), i.Id, i.Problem}
		})
	command.Flags().StringVar(&folder, "folder", "", "ID of a folder (default the root)")
	return command
}

func compareCommand(c *connection) *cobra.Command {
	return listing(c, "compare TENANT RESOURCE WORKLOAD EARLIER LATER", "List what was added, changed and removed between two snapshots", "WHAT KIND NAME SIZE MODIFIED ID",
		func(a asking) ([]apiclient.ChangedItem, string, error) {
			since, err := snapshotArg(a.args[3])
			if err != nil {
				return nil, "", err
			}
			seq, err := snapshotArg(a.args[4])
			if err != nil {
				return nil, "", err
			}
			answer, err := a.client.CompareSnapshotsWithResponse(a.ctx, a.args[0], a.args[1], apiclient.CompareSnapshotsParamsWorkload(a.args[2]), seq,
				&apiclient.CompareSnapshotsParams{After: a.after, Limit: a.limit, Since: &since})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		func(i apiclient.ChangedItem) []string {
			return []string{string(i.What), i.Kind, i.Name, byteSize(i.Size), when(i.Modified), i.Id}
		})
}

func restoreCommand(c *connection) *cobra.Command {
	var n apiclient.NewRestore
	var conflict string
	var watch, preview bool
	command := c.action("restore TENANT RESOURCE WORKLOAD SNAPSHOT", "Bring a snapshot, or part of it, back to Microsoft 365", 4,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			seq, err := snapshotArg(args[3])
			if err != nil {
				return err
			}
			n.Resource, n.Workload, n.Snapshot = args[1], apiclient.NewRestoreWorkload(args[2]), seq
			n.Conflict = apiclient.NewRestoreConflict(conflict)
			if preview {
				return previewRestore(cmd, client, args[0], n)
			}
			answer, err := client.StartRestoreWithResponse(cmd.Context(), args[0], n)
			if err != nil {
				return err
			}
			return started(cmd, client, answer.JSON201, watch)
		})
	// Not a comma-separated slice: IDs are Microsoft's and may hold anything.
	command.Flags().StringArrayVar(&n.Items, "item", nil, "ID of a folder or item, repeatable (default everything)")
	command.Flags().StringVar(&n.To, "to", "", "ID of another resource (default the same)")
	command.Flags().StringVar(&n.Folder, "folder", "", "name of a new folder for it (default one named after the moment)")
	command.Flags().BoolVar(&n.Original, "original", false, "into the places where everything was, instead of a folder")
	command.Flags().StringVar(&conflict, "conflict", "", "skip, copy or replace where a different item has the place (default copy)")
	command.Flags().BoolVar(&n.Permissions, "permissions", false, "make grants and sharing links on restored files, too; nobody is told")
	command.Flags().BoolVar(&preview, "preview", false, "only say what it would write, what it lacks and how long it takes at least")
	watchFlag(command, &watch)
	return command
}

func previewRestore(cmd *cobra.Command, client *apiclient.ClientWithResponses, tenant string, n apiclient.NewRestore) error {
	answer, err := client.PreviewRestoreWithResponse(cmd.Context(), tenant, n)
	if err != nil {
		return err
	}
	p := answer.JSON200
	err = fields(cmd, "items", count(p.Items), "bytes", byteSize(p.Bytes), "unsaved", count(p.Unsaved), "target", p.TargetName, "folder", p.Folder,
		"needs", strings.Join(p.PermissionsNeeded, ", "), "lacks", strings.Join(p.PermissionsMissing, ", "),
		"at least", (time.Duration(p.TakesSeconds) * time.Second).String(), "bound by", p.Binding, "site", siteOf(p.Site))
	for _, w := range p.Warnings {
		cmd.PrintErrln(w)
	}
	return err
}

// siteOf tells of a group's own site.
func siteOf(s apiclient.SitePreview) string {
	switch {
	case s.Resource == "":
		return ""
	case s.Snapshot == 0:
		return fmt.Sprintf("%s (%s), without a snapshot", s.Name, s.Resource)
	}
	return fmt.Sprintf("%s (%s), snapshot %d: %s items, %s", s.Name, s.Resource, s.Snapshot, count(s.Items), byteSize(s.Bytes))
}

func verifyCommand(c *connection) *cobra.Command {
	var watch, quick bool
	command := c.action("verify TENANT RESOURCE WORKLOAD SNAPSHOT", "Re-read and check everything a snapshot names", 4,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			seq, err := snapshotArg(args[3])
			if err != nil {
				return err
			}
			answer, err := client.StartVerificationWithResponse(cmd.Context(), args[0], apiclient.NewVerification{
				Resource: args[1], Workload: apiclient.NewVerificationWorkload(args[2]), Snapshot: seq, Quick: quick,
			})
			if err != nil {
				return err
			}
			return started(cmd, client, answer.JSON201, watch)
		})
	command.Flags().BoolVar(&quick, "quick", false, "look at the structure alone: the index, and that every object is there")
	watchFlag(command, &watch)
	return command
}

func snapshotArg(text string) (int64, error) {
	seq, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seq < 1 {
		return 0, tenantry.Errorf(tenantry.Invalid, "SNAPSHOT %q is not a number: tenantry snapshots lists them", text)
	}
	return seq, nil
}

func repairCommand(c *connection) *cobra.Command {
	var watch bool
	command := c.action("repair TENANT RESOURCE WORKLOAD", "Read the index of a series, and make it anew from manifests and packs if it is damaged", 3,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.StartRepairWithResponse(cmd.Context(), args[0], args[1], apiclient.StartRepairParamsWorkload(args[2]))
			if err != nil {
				return err
			}
			return started(cmd, client, answer.JSON201, watch)
		})
	watchFlag(command, &watch)
	return command
}
