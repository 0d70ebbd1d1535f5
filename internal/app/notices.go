package app

import (
	"crypto/x509"
	"os"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/report"
	"github.com/tenantry/tenantry/internal/scheduler"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// newNotices returns who tells people by mail; nil where no mail server is configured, of which the log says what follows.
func newNotices(cfg Config, cat *catalog.Catalog, id tenantry.ProcessID, observer report.Observer, log report.Logger) (scheduler.Notices, error) {
	if cfg.SMTP == "" {
		log.Warnw("there is no mail server (smtp): nobody is told anything by mail, whatever addresses are given")
		return nil, nil
	}
	options, err := cfg.smtpOptions()
	if err != nil {
		return nil, err
	}
	sender, err := report.NewSMTP(options)
	if err != nil {
		return nil, err
	}
	return report.New(report.Config{Catalog: cat, Sender: sender, Process: id, Log: log, Observer: observer})
}

func (c Config) smtpOptions() (report.SMTPOptions, error) {
	o := report.SMTPOptions{
		Addr: c.SMTP, TLS: report.TLSMode(c.SMTPTLS), User: c.SMTPUser, Password: c.SMTPPassword, From: c.SMTPFrom, Name: c.SMTPName,
	}
	if c.SMTPCA == "" {
		return o, nil
	}
	text, err := os.ReadFile(c.SMTPCA)
	if err != nil {
		return o, tenantry.E(tenantry.Invalid, "read smtp-ca", err)
	}
	o.Roots = x509.NewCertPool()
	if !o.Roots.AppendCertsFromPEM(text) {
		return o, tenantry.Errorf(tenantry.Invalid, "read smtp-ca: %s holds no certificate in PEM", c.SMTPCA)
	}
	return o, nil
}

// validateMail checks what sends mails, if anything does.
func (c Config) validateMail(bad complain) {
	if c.NoticesEvery < time.Second || c.NoticesEvery > time.Hour {
		bad("notices-every", c.NoticesEvery.String(), "1s to 1h")
	}
	if c.SMTP == "" {
		return
	}
	options, err := c.smtpOptions()
	if err != nil {
		bad("smtp-ca", c.SMTPCA, "a readable PEM file with certificates")
		return
	}
	if _, err := report.NewSMTP(options); err != nil {
		bad("smtp", c.SMTP, "HOST:PORT, with smtp-from, smtp-tls, smtp-user and smtp-password that fit: "+err.Error())
	}
}

// hostname is the host's name; an empty one still gives unique process IDs.
func hostname() string {
	name, _ := os.Hostname()
	return name
}
