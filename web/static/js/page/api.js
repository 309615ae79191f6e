// Talking to the server. Every failure becomes an ApiError whose message is a sentence to show.

import { S } from "./strings.js";

export class ApiError extends Error {
  constructor(message, status = 0, kind = "") {
    super(message);
    this.status = status; // 0: no answer at all
    this.kind = kind;
  }

  get offline() { return this.status === 0; }

  // The sentence where something was to be done, which nobody tries again by itself.
  get ofAction() { return this.offline ? S.offlineAction : this.message; }

  get noIndex() { return this.kind === "urn:sightline:problem:no-index"; }
}

const DISMISSALS = "/api/duplicates/dismissals";
export let dismissals = 0; // how often something was said about duplicates, or taken back, from this page

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(S.offline);
  }
  if (response.status === 204) return null;
  let body = null;
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (!response.ok || body === null) {
    throw new ApiError(body?.detail ?? S.badAnswer(response.status), response.status, body?.type);
  }
  if (path === DISMISSALS) dismissals++;
  return body;
}

// asked: { q, mode, sort, all, apart, examples, limit, offset, listing, facets }
export function search(asked, signal) {
  const fields = { limit: asked.limit, offset: asked.offset };
  if (asked.q) fields.q = asked.q;
  if (asked.mode) fields.mode = asked.mode;
  if (asked.sort) fields.sort = asked.sort;
  if (asked.all) fields.all = "true";
  if (!asked.apart) fields.collapse = "true";
  if (asked.listing) fields.listing = asked.listing;
  if (asked.facets) fields.facets = "true";
  if (!asked.examples?.length) return ask(`/api/search?${new URLSearchParams(fields)}`, { signal });
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  for (const { file, like } of asked.examples) {
    if (file) form.append("image", file, "picture");
    else form.append("like", like);
  }
  return ask("/api/search", { method: "POST", body: form, signal });
}

export const suggest = (q, limit, signal) => ask(`/api/suggest?${new URLSearchParams({ q, limit })}`, { signal });
const write = (method, body) => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const savedSearches = () => ask("/api/searches");
export const saveSearch = (search) => ask("/api/searches", write("POST", search));
export const renameSearch = (id, name) => ask(`/api/searches/${id}`, write("PUT", { name }));
export const forgetSearch = (id) => ask(`/api/searches/${id}`, { method: "DELETE" });
export const photo = (id, signal) => ask(`/api/photos/${encodeURIComponent(id)}`, { signal });
export const setCaption = (id, caption) => ask(`/api/photos/${encodeURIComponent(id)}/caption`, write("PUT", { caption }));
export const why = (id, q, signal) => ask(`/api/photos/${encodeURIComponent(id)}/why?${new URLSearchParams({ q })}`, { signal });
export const similar = (id, { limit, collapse }, signal) =>
  ask(`/api/photos/${encodeURIComponent(id)}/similar?${new URLSearchParams({ limit, collapse })}`, { signal });

// Fails as a search does where no archive can be made of them; nothing of it is read.
export async function checkArchive(photos) {
  const controller = new AbortController();
  const response = await fetch("/api/archive", { method: "POST", body: new URLSearchParams({ photos }), signal: controller.signal }).catch(() => null);
  if (!response) throw new ApiError(S.offline);
  if (response.ok) return controller.abort();
  const problem = await response.json().catch(() => null);
  throw new ApiError(problem?.detail ?? S.badAnswer(response.status), response.status, problem?.type);
}

export const status = (signal) => ask("/api/status", { signal });
// Of a picture that did not come a browser does not tell why.
export const isAway = () => status().then(() => false, (error) => error.offline);
export const models = (signal) => ask("/api/models", { signal });
export const jobs = (limit, signal) => ask(`/api/jobs?limit=${limit}`, { signal });
export const startJob = () => ask("/api/jobs", write("POST", { kind: "index" }));
export const stopJob = (id) => ask(`/api/jobs/${id}`, { method: "DELETE" });
export const failures = (limit, offset, signal) => ask(`/api/failures?${new URLSearchParams({ limit, offset })}`, { signal });
export const duplicates = (kind, limit, offset, signal) => ask(`/api/duplicates?${new URLSearchParams({ kind, limit, offset })}`, { signal });
export const dismiss = (photos) => ask("/api/duplicates/dismissals", write("POST", { photos }));
export const takeBack = (photos) => ask("/api/duplicates/dismissals", write("DELETE", { photos }));
export const thumbUrl = (id, size = "small") => `/api/photos/${encodeURIComponent(id)}/thumb?size=${size}`;
export const pictureUrl = (id) => `/api/photos/${encodeURIComponent(id)}/picture`;
export const fileUrl = (id) => `/api/photos/${encodeURIComponent(id)}/file`;
