// What happens to the index, as the server tells it: one stream of events for the page, closed while nobody looks. Where there is
// none to be had, the server is asked now and then instead.
//
// Heard of: `status` and `job`, the documents of GET /api/events; `opened`, when what was known may have changed unseen; `away`, an
// ApiError, while the server cannot be reached.

import * as api from "./api.js";

const CALM = 20000; // ms between two questions where events are refused
const EAGER = 2500; // the same while something runs or is missing
const LONGEST = 60000; // ms between two tries to listen

const listeners = { status: [], job: [], opened: [], away: [] };
const latest = {};
let stream = null;
let timer = null;
let refused = 0; // tries to listen, one after the other, that a server which is there has refused
let tryAt = 0; // when to listen again

export const on = (event, listener) => listeners[event].push(listener);

// The last document of that event; undefined before the first, and while the server is away.
export const last = (event) => latest[event];

function tell(event, document) {
  latest[event] = document;
  for (const listener of listeners[event]) listener(document);
}

function close() {
  stream?.close();
  stream = null;
  clearTimeout(timer);
}

function listen() {
  close();
  if (document.hidden) return;
  const opened = (stream = new EventSource("/api/events"));
  let first = true;
  stream.addEventListener("status", (event) => {
    refused = 0;
    tell("status", JSON.parse(event.data));
    if (first) tell("opened");
    first = false;
  });
  stream.addEventListener("job", (event) => tell("job", JSON.parse(event.data)));
  // A browser tries again only where there was no answer at all; so it is done here in every case.
  stream.addEventListener("error", () => {
    if (stream !== opened) return;
    close();
    tryAt = Date.now() + Math.min(LONGEST, 1000 * 2 ** refused++);
    ask();
  });
}

// What an event would have told.
async function ask() {
  clearTimeout(timer);
  if (document.hidden) return;
  let wait = EAGER;
  try {
    const [status, { jobs: [job] }] = await Promise.all([api.status(), api.jobs(1)]);
    if (stream) return;
    const running = job?.state === "running" ? job.id : null;
    const waiting = Object.fromEntries(Object.entries(status.described).map(([stage, count]) => [stage, count.waiting]));
    const { photos, failures, model, generation, revision } = status;
    tell("status", { photos, failures, waiting, model, generation, revision, job: running, detail: null, missing: false });
    if (job && (running || latest.job?.id === job.id)) tell("job", job);
    tell("opened");
    if (!running) wait = CALM;
  } catch (error) {
    if (stream) return;
    delete latest.status;
    refused = 0;
    tryAt = 0;
    tell("away", error);
  }
  clearTimeout(timer);
  const next = Math.max(0, tryAt - Date.now());
  timer = next < wait ? setTimeout(listen, Math.max(next, tryAt ? 0 : EAGER)) : setTimeout(ask, wait);
}

// A request has failed as though there were no server: what listens may not have noticed yet.
export function doubt() {
  if (!stream) return;
  close();
  ask();
}

export function start() {
  listen();
  addEventListener("online", listen);
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : listen()));
}
