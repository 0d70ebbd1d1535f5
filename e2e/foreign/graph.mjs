// The official JavaScript client of Microsoft Graph, as anybody would use it: it knows
// graph.microsoft.com and login.microsoftonline.com, HTTPS_PROXY, NODE_EXTRA_CA_CERTS, and
// the credentials of an application. What it found goes to standard output as JSON, for the
// test to hold against the truth.
import { BatchRequestContent, BatchResponseContent, Client, FileUpload, LargeFileUploadTask, PageIterator }
  from '@microsoft/microsoft-graph-client';
import { EnvHttpProxyAgent, setGlobalDispatcher } from 'undici';

setGlobalDispatcher(new EnvHttpProxyAgent());
const { TENANT, CLIENT_ID, CLIENT_SECRET, USER } = process.env;

async function getAccessToken() {
  const answer = await fetch(`https://login.microsoftonline.com/${TENANT}/oauth2/v2.0/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials', client_id: CLIENT_ID, client_secret: CLIENT_SECRET,
      scope: 'https://graph.microsoft.com/.default',
    }),
  });
  if (!answer.ok) throw new Error(`token: ${answer.status} ${await answer.text()}`);
  return (await answer.json()).access_token;
}

const client = Client.initWithMiddleware({ authProvider: { getAccessToken } });

// A round of delta: all pages by nextLink, then the deltaLink.
async function round(start) {
  const items = [];
  const pages = new PageIterator(client, await start, (item) => { items.push(item); return true; });
  await pages.iterate();
  return { items, link: pages.getDeltaLink() };
}

const users = await round(client.api('/users/delta').select('id,displayName').get());
const inbox = `/users/${USER}/mailFolders/inbox/messages`;
const messages = await round(client.api(`${inbox}/delta`).header('Prefer', 'IdType="ImmutableId"').select('subject').get());

// What changes in between is what the next round tells.
const made = await client.api(inbox).post({ subject: 'from JavaScript', body: { contentType: 'text', content: 'Grüße' } });
const later = await round(client.api(messages.link).header('Prefer', 'IdType="ImmutableId"').get());

const bytes = Buffer.alloc(5 * 1024 * 1024 + 17, 'graph');
const session = await LargeFileUploadTask.createUploadSession(client,
  `/users/${USER}/drive/root:/large.bin:/createUploadSession`,
  { item: { '@microsoft.graph.conflictBehavior': 'rename', name: 'large.bin' } });
const task = new LargeFileUploadTask(client, new FileUpload(bytes, 'large.bin', bytes.length), session,
  { rangeSize: 320 * 1024 * 4 });
const uploaded = (await task.upload()).responseBody;

// The client sends what is behind the host, and a batch wants it relative to the version.
const batch = new BatchRequestContent([
  { id: 'me', request: new Request(`https://graph.microsoft.com/users/${USER}`, { method: 'GET' }) },
  { id: 'folder', request: new Request(`https://graph.microsoft.com/users/${USER}/mailFolders`,
    { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ displayName: 'batched' }) }) },
  { id: 'none', request: new Request('https://graph.microsoft.com/users/00000000-0000-0000-0000-000000000000', { method: 'GET' }) },
]);
const responses = new BatchResponseContent(await client.api('/$batch').post(await batch.getContent()));
const statuses = {};
for (const [id, response] of responses.getResponsesIterator()) statuses[id] = response.status;

process.stdout.write(JSON.stringify({
  users: users.items.map((u) => u.id),
  messages: messages.items.map((m) => m.id),
  later: later.items.map((m) => m.subject),
  made: made.id,
  uploaded: { id: uploaded.id, size: uploaded.size },
  statuses,
}));
