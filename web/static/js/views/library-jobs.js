// Runs of the indexer: the one at work, with its progress; a button that starts one; and the last ones.

import * as api from "../page/api.js";
import { make } from "../page/dom.js";
import * as events from "../page/events.js";
import { ago, duration, formatMoment } from "../page/formats.js";
import { S } from "../page/strings.js";

const SHOWN = 8; // of the last runs

let card = null;
let list = null;
let busy = false;
let said = ""; // what went wrong when a run was to start or stop
let shownRunning = null; // the run whose progress is shown

// What a run has done, in words; what it has not, is left out.
export function counted(counts) {
  const words = Object.entries(S.counts).filter(([name]) => counts[name] > 0).map(([name, text]) => text(counts[name]));
  return words.length ? words.join(", ") : S.nothingNew;
}

async function act(request) {
  busy = true;
  said = "";
  draw();
  try {
    const job = await request();
    const known = events.last("job");
    if (!known || known.id !== job.id || known.state === "running") current = job;
  } catch (error) {
    said = error.ofAction;
  }
  busy = false;
  draw();
  runs();
}

let current = null; // the newest job, as far as is known

function progressOf(job) {
  const { stage, done, total, failed, rate, seconds_left: left } = job.progress ?? { stage: "", done: 0, total: null };
  const bar = card.querySelector("progress");
  if (total) {
    bar.max = total;
    bar.value = Math.min(done, total);
  } else bar.removeAttribute("value");
  const words = S.stages[stage] ?? S.stages.other;
  card.querySelector(".doing").textContent = words;
  bar.setAttribute("aria-valuetext", total ? S.stageOf(words, done, total) : words);
  card.querySelector(".figures").textContent = [
    total ? S.doneOf(done, total) : done ? S.number(done) : "",
    rate ? S.rate(rate) : "",
    left ? S.timeLeft(duration(left)) : "",
    failed ? S.failedSoFar(failed) : "",
  ].filter(Boolean).join(" · ");
}

function draw() {
  if (!card) return;
  const running = current?.state === "running" ? current : null;
  const kept = running && shownRunning === `${running.id} ${running.stoppable} ${busy} ${said}`;
  if (!kept) {
    const focused = card.contains(document.activeElement);
    const button = (text, kind, onclick, properties = {}) => make("button", { class: `button ${kind}`, type: "button", onclick, "aria-disabled": busy && "true", ...properties }, text);
    const alert = said ? make("p", { class: "notice", role: "alert" }, said) : null;
    card.replaceChildren(...(running ? [
      make("h2", {}, S.running),
      make("p", { class: "doing", role: "status" }),
      make("progress", { "aria-label": S.running }),
      make("p", { class: "figures soft" }),
      running.stoppable
        ? button(busy ? S.stopping : S.stop, "", () => { if (!busy) act(() => api.stopJob(running.id)); })
        : make("p", { class: "soft" }, S.causes[running.cause] ?? S.startedElsewhere(running.pid, running.host)),
      alert,
    ] : [
      make("h2", {}, S.lastRun),
      make("p", { class: "soft", role: "status" }, current ? lastLine(current) : S.neverRun),
      button(busy ? S.starting : S.reindex, "main", () => { if (!busy) act(api.startJob); }, { title: S.reindexHint }),
      alert,
    ]).filter(Boolean));
    shownRunning = running && `${running.id} ${running.stoppable} ${busy} ${said}`;
    if (focused) card.querySelector("button")?.focus();
  }
  if (running) progressOf(running);
}

const lastLine = (job) => `${S.states[job.state] ?? job.state} ${ago(job.ended_at ?? job.started_at)}: ${counted(job.counts)}`;

function entry(job) {
  return make(
    "li",
    {},
    make("p", {}, make("span", { class: job.state === "failed" || job.state === "died" ? "wrong" : "" }, S.states[job.state] ?? job.state), ` · ${counted(job.counts)}`),
    job.message ? make("p", { class: "soft path" }, job.message) : null,
    make("p", { class: "soft" }, [formatMoment(job.started_at), S.causes[job.cause], job.ended_at && S.lasted(duration((Date.parse(job.ended_at) - Date.parse(job.started_at)) / 1000))].filter(Boolean).join(" · ")),
  );
}

async function runs() {
  if (events.last("status")?.node) return; // its home has some
  try {
    const { jobs } = await api.jobs(SHOWN);
    if (!list) return;
    [current] = jobs;
    current ??= null;
    const ended = jobs.filter((job) => job.state !== "running");
    list.parentElement.hidden = ended.length === 0;
    list.replaceChildren(...ended.map(entry));
    draw();
  } catch {
    // Said where the photos are.
  }
}

// Without an index there is nothing to look through anew.
function hide(status) {
  if (card) card.hidden = Boolean(status?.detail);
}

export function open(aside) {
  card = make("section", { class: "card job" });
  list = make("ul", { class: "plain" });
  aside.append(card, make("details", { class: "card", hidden: true }, make("summary", {}, make("h2", {}, S.lastRuns)), list));
  current = events.last("job") ?? null;
  shownRunning = null;
  said = "";
  draw();
  hide(events.last("status"));
  if (events.last("status")) runs(); // else it is the first to be heard of
}

export function close() {
  card = list = null;
}

events.on("job", (job) => {
  const ended = job.state !== "running";
  if (current && job.id < current.id) return;
  if (job.id !== current?.id || job.state !== current.state) said = "";
  current = job;
  draw();
  if (ended && list) runs();
});
events.on("opened", () => {
  said = "";
  draw();
  if (list) runs();
});
events.on("status", hide);
events.on("away", (error) => hide({ detail: error.noIndex }));
