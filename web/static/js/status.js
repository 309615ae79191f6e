// The line at the foot: what is indexed, with which model, and whether the server is there at all.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { ago } from "./formats.js";
import { recover } from "./results.js";
import { S } from "./strings.js";

const line = byId("state");
const CALM = 20000;
const EAGER = 3000; // while something is running, missing or broken
let timer = null;
let seen = ""; // photos and generation of the last answer

function show(...items) {
  line.replaceChildren(...items.filter(Boolean), make("span", { class: "right" }, make("a", { href: "/docs" }, S.api)));
}

function describe(status) {
  const running = status.jobs.find((job) => job.state === "running");
  const last = status.jobs.find((job) => job.state === "done" && job.ended_at);
  const item = (text, properties = {}) => make("span", properties, text);
  show(
    item(S.statePhotos(status.photos)),
    status.model ? item(S.stateModel(status.model)) : null,
    running ? item(S.stateRunning(running.kind)) : last ? item(S.stateLastRun(ago(last.ended_at))) : null,
    status.failures ? item(S.stateFailures(status.failures), { title: S.failuresHint }) : null,
  );
  return Boolean(running);
}

export async function check(onNewPhotos) {
  clearTimeout(timer);
  let wait = EAGER;
  try {
    const status = await api.status();
    if (!describe(status)) wait = CALM;
    recover();
    const now = `${status.photos} ${status.generation}`;
    if (seen && seen !== now) onNewPhotos();
    seen = now;
  } catch (error) {
    show(make("span", { class: error.noIndex ? "" : "wrong" }, error.noIndex ? S.stateNoIndex : error.offline ? S.stateOffline : error.message));
  }
  clearTimeout(timer); // another check may have set it while this one waited for its answer
  timer = setTimeout(() => check(onNewPhotos), document.hidden ? CALM * 3 : wait);
}

export function start(onNewPhotos) {
  check(onNewPhotos);
  addEventListener("online", () => check(onNewPhotos));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) check(onNewPhotos); });
}
