// Package report owns what people are told by mail: the course of a first backup, daily and weekly
// reports, and trouble. It reads the catalog, writes mails down in its outbox, and sends them over SMTP.
//
// The leading scheduler calls Round every few seconds. Everything that a round decides is written
// under the leader's fence, in one transaction with the mails that tell it, so that two schedulers
// cannot tell it twice; a mail that was written down is sent at least once, with the same Message-ID
// each time (see catalog.Mail for its states).
//
// A first backup begins when somebody enables a workload of a tenant, who may name whom to tell:
//
//	new --> accepted --listed by a directory sync--> listed --every 6 hours: progress--> listed
//	listed --everything that policies cover was tried--> ended (completed, or failed when nothing was saved)
//	accepted --permissions are gone, or listing failed--> failed (with the remedy) --listed after all--> listed
//
// A trouble of a tenant has a cause: tasks of an action that failed for a kind of error, an alarm, a lost
// consent, stale backups. What is new of it is untold until a mail tells it:
//
//	untold --two minutes later; none of this cause today--> told at once
//	untold --told today already, or the same befalls many tenants--> in a digest, the next morning
//
// "Today" and "morning" are those of the recipients' time zone. What befalls everybody (an alarm that
// stops admission), or many tenants within an hour, is one alarm to the provider instead.
//
// Mails hold counts, classes of causes, and names of tenants and policies: nothing out of mailboxes, no names of
// users, no addresses but the recipient's. They load nothing from elsewhere.
package report
