// The tags of a photo. Each is a search for the photos that have it; so is a kind, where it is not just a photo.

import { make } from "../page/dom.js";
import { leaveFor, search } from "./leave.js";
import { filter } from "../page/query.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

export function tags(photo) {
  const found = photo.tags.map(({ tag }) => [tag, filter("tag", tag)]);
  if (photo.kind && photo.kind !== "photo") found.unshift([S.kindOf(photo.kind), `is:${photo.kind}`]);
  if (!found.length) return null;
  const items = found.map(([name, query]) => {
    const follow = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in another tab
      event.preventDefault();
      leaveFor({ q: query });
    };
    return make("li", {}, make("a", { class: "tag", href: state.address(search({ q: query })), title: S.searchFor(query), onclick: follow }, name));
  });
  return make("section", {}, make("h3", {}, S.tags), make("ul", { class: "tags" }, ...items));
}
