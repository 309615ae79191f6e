// The line at the foot: what is indexed, with which model, and whether the server is there at all.

import * as api from "./page/api.js";
import { byId, make } from "./page/dom.js";
import * as events from "./page/events.js";
import { ago } from "./page/formats.js";
import * as results from "./grid/results.js";
import { S } from "./page/strings.js";
import * as viewer from "./viewer/viewer.js";
import { way } from "./views/views.js";

const line = byId("state");
const RECOVER = 5000; // ms after which what got no answer is asked for again
const GATHER = 3000; // ms at least between two times that new photos are shown
const MINUTE = 60000;

let lastRun = null; // when the last run that was done ended
let seen = ""; // photos, generation and revision, as they were last told
let told = 0; // when that was
let telling = null;

const item = (text, properties = {}) => make("span", properties, text);

function show(...items) {
  line.replaceChildren(...items.filter(Boolean), make("span", { class: "right" }, make("a", { href: "/docs" }, S.api)));
}

function draw() {
  const status = events.last("status");
  if (!status) return;
  if (status.missing) return show(item(S.stateNoIndex, { title: status.detail }));
  if (status.detail) return show(item(status.detail, { class: "wrong" }));
  const running = status.job !== null;
  show(
    item(S.statePhotos(status.photos)),
    status.model ? item(S.stateModel(status.model)) : null,
    running ? item(S.stateRunning) : lastRun ? item(S.stateLastRun(ago(lastRun))) : null,
    status.failures ? way("library", S.stateFailures(status.failures)) : null,
  );
}

async function runs() {
  try {
    const { jobs } = await api.jobs(5);
    lastRun = jobs.find((job) => job.state === "done" && job.ended_at)?.ended_at ?? lastRun;
    draw();
  } catch {
    // There is no index yet, or the server has gone: both are said.
  }
}

function recover() {
  results.recover();
  viewer.recover();
}

export function start(onNewPhotos) {
  const tellLater = () => {
    clearTimeout(telling);
    telling = setTimeout(() => { told = Date.now(); onNewPhotos(); }, Math.max(0, told + GATHER - Date.now()));
  };
  events.on("status", (status) => {
    // A node answers from a collection and keeps nothing: what only a home does is not offered.
    document.documentElement.classList.toggle("node", Boolean(status.node));
    draw();
    recover();
    const now = `${status.photos} ${status.generation} ${status.revision}`;
    if (seen && seen !== now) tellLater();
    seen = now;
  });
  events.on("job", (job) => {
    if (job.state === "done") lastRun = job.ended_at;
    draw();
  });
  events.on("opened", () => { if (!events.last("status")?.detail && !events.last("status")?.node) runs(); });
  events.on("away", (error) => {
    show(make("span", { class: error.noIndex ? "" : "wrong" }, error.noIndex ? S.stateNoIndex : error.offline ? S.stateOffline : error.message));
  });
  setInterval(() => { if (!document.hidden && events.last("status")) recover(); }, RECOVER);
  setInterval(draw, MINUTE);
  events.start();
}
