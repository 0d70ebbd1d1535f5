package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tenantry/tenantry/internal/app"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// keysOptions say where bucket and keys are: the configuration of the fleet, and what is
// given on the command line instead.
type keysOptions struct {
	output
	config, region, bucket, keyFile, kmsFleet, catalog string
}

// keysCommand works on bucket and keys directly: the API never sees a key.
func keysCommand() *cobra.Command {
	var o keysOptions
	command := group("keys", "The keys of the backups: check, rotate, copy for escrow, destroy",
		o.list(), o.rotate(), o.retire(), o.escrow(), o.checkEscrow(), o.shred(), verifyCertificate())
	o.addFlags(command.PersistentFlags())
	return command
}

func (o *keysOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.config, "config", "", "YAML `FILE` of the fleet (the environment counts, too)")
	flags.StringVar(&o.region, "region", "", "data `REGION` of the fleet's configuration whose bucket and keys are meant (default: default)")
	flags.StringVar(&o.bucket, "bucket", "", "`URL` of the storage, as the fleet's")
	flags.StringVar(&o.keyFile, "key-file", "", "`FILE` with the wrapping keys")
	flags.StringVar(&o.kmsFleet, "kms-fleet", "", "`NAME` of the fleet in AWS KMS, instead of a key file")
	o.output.addFlags(flags)
}

// rebuildCommand makes the catalog's list of snapshots from the bucket, without the api.
func rebuildCommand() *cobra.Command {
	var o keysOptions
	var adopt []string
	command := &cobra.Command{
		Use: "rebuild [TENANT]", Short: "Make the catalog's list of snapshots what the bucket says: after SQL was lost or put back", Args: cobra.MaximumNArgs(1),
		Long: "Make the catalog's list of snapshots what the bucket says: after SQL was lost or put back.\n\n" +
			"After SQL was lost whole, the bucket has the tenants' IDs but not whose they are: name the Microsoft\n" +
			"tenant of each with --adopt (`tenantry rescue` shows what is in a backup). Enable their workloads, and have them consent again;\n" +
			"policies, holds and tokens have to be made again.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.load()
			if err != nil {
				return err
			}
			what := app.Rebuild{Only: tenantry.TenantID(arg(args, 0))}
			if what.Adopt, err = adoptions(adopt); err != nil {
				return err
			}
			var rows [][]string
			failed := 0
			err = app.RebuildSnapshots(cmd.Context(), cfg, what, func(r app.Rebuilt) {
				why := ""
				if r.Err != nil {
					failed++
					why = r.Err.Error()
				}
				rows = append(rows, []string{string(r.Tenant), count(int64(r.Series)), count(int64(r.Snapshots)), count(int64(r.Adopted)), why})
			})
			if err != nil {
				return err
			}
			if err := o.rows(cmd.OutOrStdout(), "TENANT SERIES SNAPSHOTS ADOPTED PROBLEM", rows); err != nil {
				return err
			}
			if failed > 0 {
				return tenantry.Errorf(tenantry.Corrupt, "%d of %d tenants could not be read whole", failed, len(rows))
			}
			return nil
		},
	}
	o.addFlags(command.Flags())
	command.Flags().StringVar(&o.catalog, "catalog", "", "`DSN` of the catalog")
	command.Flags().StringArrayVar(&adopt, "adopt", nil, "`TENANT=DIRECTORY[=NAME]`: add a tenant that the catalog has lost, as that of a Microsoft tenant (GUID or domain); may be repeated")
	return command
}

// adoptions reads the flags --adopt.
func adoptions(flags []string) (map[tenantry.TenantID]app.Adoption, error) {
	out := map[tenantry.TenantID]app.Adoption{}
	for _, flag := range flags {
		id, rest, ok := strings.Cut(flag, "=")
		directory, name, _ := strings.Cut(rest, "=")
		if !ok || id == "" || directory == "" {
			return nil, tenantry.Errorf(tenantry.Invalid, "--adopt %q is not TENANT=DIRECTORY or TENANT=DIRECTORY=NAME", flag)
		}
		out[tenantry.TenantID(id)] = app.Adoption{Directory: directory, Name: name}
	}
	return out, nil
}

// load reads the fleet's configuration.
func (o *keysOptions) load() (app.Config, error) {
	var args []string
	for name, value := range map[string]string{
		"config": o.config, "region": o.region, "bucket": o.bucket, "key-file": o.keyFile, "kms-fleet": o.kmsFleet, "catalog": o.catalog,
	} {
		if value != "" {
			args = append(args, "-"+name, value)
		}
	}
	cfg, err := app.Load(app.RoleKeys, args, io.Discard)
	if err != nil {
		return cfg, err
	}
	return cfg.In(cfg.Region)
}

// open opens bucket and keys.
func (o *keysOptions) open(ctx context.Context) (*app.Vault, app.Config, error) {
	cfg, err := o.load()
	if err != nil {
		return nil, cfg, err
	}
	vault, err := app.OpenVault(ctx, cfg)
	return vault, cfg, err
}

// action is a command over an open vault.
func (o *keysOptions) action(use, short string, args cobra.PositionalArgs, run func(*cobra.Command, *app.Vault, app.Config, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		vault, cfg, err := o.open(cmd.Context())
		if err != nil {
			return err
		}
		if c, ok := vault.Store.(io.Closer); ok {
			defer func() { _ = c.Close() }()
		}
		return run(cmd, vault, cfg, args)
	}}
}

func (o *keysOptions) list() *cobra.Command {
	return o.action("list", "Open every tenant's key and list what there is; fails if one does not open", cobra.NoArgs,
		func(cmd *cobra.Command, v *app.Vault, _ app.Config, _ []string) error {
			tenants, err := repository.Tenants(cmd.Context(), v.Store)
			if err != nil {
				return err
			}
			var rows [][]string
			bad := 0
			for _, t := range tenants {
				status, err := repository.CheckKey(cmd.Context(), v.Store, v.Keys, t)
				if err != nil {
					bad++
					rows = append(rows, []string{string(t), "no", "", "", "", "", err.Error()})
					continue
				}
				rows = append(rows, []string{string(t), "yes", count(status.Generation), count(int64(status.DataKeys)), status.WrappingKey, when(status.Changed), strings.Join(status.Earlier, " ")})
			}
			if err := o.rows(cmd.OutOrStdout(), "TENANT OPENS GENERATION DATA-KEYS WRAPPING-KEY CHANGED NOTE", rows); err != nil {
				return err
			}
			if bad > 0 {
				return tenantry.Errorf(tenantry.WrongKey, "the keys of %d of %d tenants do not open", bad, len(tenants))
			}
			return nil
		})
}

func (o *keysOptions) rotate() *cobra.Command {
	var data bool
	command := o.action("rotate TENANT", "Make a new wrapping key for a tenant, or with --data a new key for new data; no data is touched", cobra.ExactArgs(1),
		func(cmd *cobra.Command, v *app.Vault, _ app.Config, args []string) (err error) {
			var status repository.KeyStatus
			if data {
				status, err = repository.RotateDataKey(cmd.Context(), v.Store, v.Keys, tenantry.TenantID(args[0]))
			} else {
				status, err = repository.RotateWrappingKey(cmd.Context(), v.Store, v.Keys, tenantry.TenantID(args[0]))
			}
			if err != nil {
				return err
			}
			cmd.PrintErrln("Make and check a new escrow copy: earlier ones do not hold this generation.")
			return o.fields(cmd, "object", status.Object, "generation", count(status.Generation), "wrapping key", status.WrappingKey,
				"data keys", count(int64(status.DataKeys)), "earlier wrapping keys", strings.Join(status.Earlier, " "))
		})
	command.Flags().BoolVar(&data, "data", false, "rotate the key that new data is encrypted under")
	return command
}

func (o *keysOptions) retire() *cobra.Command {
	return o.action("retire TENANT", "Destroy the tenant's earlier wrapping keys, once the newest has proved to open", cobra.ExactArgs(1),
		func(cmd *cobra.Command, v *app.Vault, _ app.Config, args []string) error {
			gone, err := repository.RetireWrappingKeys(cmd.Context(), v.Store, v.Keys, tenantry.TenantID(args[0]))
			for _, id := range gone {
				cmd.Println("destroyed", id)
			}
			return err
		})
}

func (o *keysOptions) escrow() *cobra.Command {
	var to string
	command := o.action("escrow --to FILE", "Copy the keys of all tenants for a safe place: whoever has the copy can read every backup", cobra.NoArgs,
		func(cmd *cobra.Command, v *app.Vault, _ app.Config, _ []string) error {
			tenants, err := repository.WriteEscrow(cmd.Context(), v.Store, v.Keys, to)
			if err != nil {
				return err
			}
			cmd.Printf("%s holds the keys of %d tenants. Keep it apart from this machine, and test it: tenantry keys check-escrow --from %s\n", to, len(tenants), to)
			return nil
		})
	command.Flags().StringVar(&to, "to", "", "new `FILE`")
	_ = command.MarkFlagRequired("to")
	return command
}

func (o *keysOptions) checkEscrow() *cobra.Command {
	var from, receipt string
	command := o.action("check-escrow --from FILE", "Open every tenant's backups with an escrow copy alone, and write the receipt that the fleet asks for", cobra.NoArgs,
		func(cmd *cobra.Command, v *app.Vault, _ app.Config, _ []string) error {
			checked, err := repository.CheckEscrow(cmd.Context(), v.Store, from)
			if err != nil {
				return err
			}
			cmd.Printf("%s recovers all %d tenants.\n", from, len(checked.Tenants))
			if receipt == "" {
				return nil
			}
			text, err := json.MarshalIndent(checked, "", "  ")
			if err != nil {
				return err
			}
			if err := os.WriteFile(receipt, append(text, '\n'), 0o600); err != nil {
				return tenantry.E(tenantry.Invalid, "write the receipt", err)
			}
			cmd.Printf("Receipt in %s: set escrow to it in the configuration of the workers.\n", receipt)
			return nil
		})
	command.Flags().StringVar(&from, "from", "", "the copy: an escrow `FILE`, or a copy of the key file")
	command.Flags().StringVar(&receipt, "receipt", "", "write the receipt to this `FILE`")
	_ = command.MarkFlagRequired("from")
	return command
}

// signedCertificate is a certificate as it is handed over: the signature is over the bytes
// of Certificate as they stand, without spaces.
type signedCertificate struct {
	Certificate json.RawMessage `json:"certificate"`
	PublicKey   []byte          `json:"public_key"` // Ed25519, 32 bytes, base64
	Signature   []byte          `json:"signature"`  // 64 bytes, base64
}

func (o *keysOptions) shred() *cobra.Command {
	var confirm, to, key string
	command := o.action("shred TENANT --confirm TENANT --certificate FILE", "Destroy a tenant's keys: all its backups are unreadable for good", cobra.ExactArgs(1),
		func(cmd *cobra.Command, v *app.Vault, cfg app.Config, args []string) error {
			if confirm != args[0] {
				return tenantry.Errorf(tenantry.Invalid, "to destroy every backup of tenant %s, give --confirm %s", args[0], args[0])
			}
			signer, err := signingKey(key)
			if err != nil {
				return err
			}
			list, err := os.OpenFile(to+".inventory", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return tenantry.E(tenantry.Invalid, "make the inventory", err)
			}
			defer list.Close()
			where, _, _ := strings.Cut(cfg.Bucket, "?")
			cert, err := repository.Shred(cmd.Context(), v.Store, v.Keys, tenantry.TenantID(args[0]), where, list)
			if err == nil {
				err = list.Sync()
			}
			if err != nil {
				return err
			}
			return writeCertificate(cmd, cert, signer, to)
		})
	flags := command.Flags()
	flags.StringVar(&confirm, "confirm", "", "the tenant's ID once more")
	flags.StringVar(&to, "certificate", "", "new `FILE` for the certificate; its text and inventory go to FILE.txt and FILE.inventory")
	flags.StringVar(&key, "sign-key", "tenantry-sign.pem", "PEM `FILE` with the Ed25519 key that signs; made if it is not there")
	_ = command.MarkFlagRequired("certificate")
	return command
}

func writeCertificate(cmd *cobra.Command, cert repository.Certificate, signer ed25519.PrivateKey, to string) error {
	body, err := json.Marshal(cert)
	if err != nil {
		return err
	}
	signed, err := json.Marshal(signedCertificate{
		Certificate: body, PublicKey: signer.Public().(ed25519.PublicKey), Signature: ed25519.Sign(signer, body),
	})
	if err != nil {
		return err
	}
	text := certificateText(cert)
	for name, content := range map[string][]byte{to: append(signed, '\n'), to + ".txt": []byte(text)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			// The keys are gone: what cannot be kept must at least be seen.
			cmd.Println(string(signed))
			return tenantry.E(tenantry.Invalid, "write the certificate", err)
		}
	}
	cmd.Print(text)
	return nil
}

func certificateText(c repository.Certificate) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Certificate of destruction\n\nTenant     %s\nStore      %s\nBegun      %s\nEnded      %s\nInventory  SHA-256 %s\n\n",
		c.Tenant, c.Store, c.Begun.Format(time.RFC3339), c.Ended.Format(time.RFC3339), c.InventorySHA256)
	for _, k := range c.Keys {
		fmt.Fprintf(&b, "Destroyed  wrapping key %s, final %s\n", k.ID, k.Final.Format(time.RFC3339))
	}
	for _, k := range c.KeyObjects {
		fmt.Fprintf(&b, "Protected  %s %s %s\n", k.Name, k.Version, k.SHA256)
	}
	b.WriteByte('\n')
	for _, s := range c.Statements {
		fmt.Fprintf(&b, "- %s\n", s)
	}
	return b.String()
}

// signingKey reads an Ed25519 key, or makes one.
func signingKey(path string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			return nil, tenantry.E(tenantry.Invalid, "write the signing key", err)
		}
		return key, nil
	}
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, "read the signing key", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "signing key %s is not PEM", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, tenantry.Errorf(tenantry.Invalid, "signing key %s is not an Ed25519 key in PKCS #8", path)
	}
	return key, nil
}

func verifyCertificate() *cobra.Command {
	return &cobra.Command{
		Use: "verify-certificate FILE", Short: "Check a certificate's signature and show who signed it and what it says", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return tenantry.E(tenantry.Invalid, "read the certificate", err)
			}
			var signed signedCertificate
			var cert repository.Certificate
			if json.Unmarshal(text, &signed) != nil || json.Unmarshal(signed.Certificate, &cert) != nil || len(signed.PublicKey) != ed25519.PublicKeySize {
				return tenantry.Errorf(tenantry.Invalid, "%s is not a certificate", args[0])
			}
			if !ed25519.Verify(signed.PublicKey, signed.Certificate, signed.Signature) {
				return tenantry.Errorf(tenantry.Corrupt, "the signature of %s does not fit: it was changed", args[0])
			}
			cmd.Printf("Signed by the Ed25519 key %x.\n\n%s", signed.PublicKey, certificateText(cert))
			return nil
		},
	}
}
