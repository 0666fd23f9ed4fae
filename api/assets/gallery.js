// Thumbnails that appear when they are ready, and a list that goes on where it ends.
//
// A thumbnail that is not made yet is asked for when it comes into view. The request answers at once; that it is ready, or
// failed, is heard from the account's changes, so that no number of waiting pictures holds up other requests. Each element
// with data-image says where its HTML comes from (data-source), and is simply fetched again.

import { showCopyButtons } from "./copy.js";
import { showTimes } from "./times.js";

const MARGIN = "400px";
const MADE = 200;
const CANNOT_BE_MADE = 422;
const BEHIND = 503;
const SHOWN_CHANGES = ["thumbnail.ready", "thumbnail.failed", "image.renamed", "image.deleted"];

// elements with data-awaited that are in view
const inView = new Set();
let events = null;

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) {
      inView.delete(target);
    } else if (!inView.has(target)) {
      inView.add(target);
      if (events?.readyState === EventSource.OPEN) ask(target);
    }
  }
  listenOrRest();
}, { rootMargin: MARGIN });

// Looks after what is inside of an element that was added to the page.
export function adopt(root) {
  showCopyButtons(root);
  showTimes(root);
  for (const picture of root.querySelectorAll("img.thumbnail")) if (picture.complete) uncover(picture);
  for (const awaited of root.querySelectorAll("[data-awaited]")) {
    awaited.classList.add("working");
    observer.observe(awaited);
  }
}

// A browser opens few connections to one server, whatever the number of tabs: events are heard only while somebody looks
// and something is awaited.
function listenOrRest() {
  const wanted = inView.size > 0 && !document.hidden;
  if (wanted && !events) {
    // after a lost connection the browser goes on where it was
    events = new EventSource("/api/changes");
    events.addEventListener("open", askAll);
    for (const kind of SHOWN_CHANGES) events.addEventListener(kind, showChange);
  } else if (!wanted && events) {
    events.close();
    events = null;
  }
}

function showChange(event) {
  const { pk } = JSON.parse(event.data);
  for (const element of document.querySelectorAll(`[data-image="${pk}"]`)) refresh(element);
}

function askAll() {
  for (const awaited of inView) ask(awaited);
}

async function ask(awaited) {
  try {
    const response = await fetch(awaited.dataset.awaited, { method: "HEAD" });
    if ([MADE, CANNOT_BE_MADE].includes(response.status)) await refresh(awaited.closest("[data-image]"));
    if (response.status === BEHIND) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      setTimeout(() => { if (inView.has(awaited)) ask(awaited); }, seconds * 1000);
    }
  } catch {
    // the network is away: the events will open again, and with them everything is asked for anew
  }
}

async function refresh(element) {
  if (!element?.isConnected) return;
  const response = await fetch(element.dataset.source, { headers: { Accept: "text/html" } });
  if (response.status === 404) {
    forget(element);
    element.remove();
    return;
  }
  if (!response.ok || !element.isConnected) return;
  const page = parse(await response.text());
  const fresh = page.querySelector(`[data-image="${element.dataset.image}"]`);
  if (!fresh) return;
  const hadFocus = element.contains(document.activeElement);
  forget(element);
  element.replaceWith(document.adoptNode(fresh));
  adopt(fresh);
  if (hadFocus) fresh.querySelector("a, button")?.focus();
}

function forget(element) {
  for (const awaited of element.querySelectorAll("[data-awaited]")) {
    observer.unobserve(awaited);
    inView.delete(awaited);
  }
  listenOrRest();
}

// Through a picture that is not opaque its placeholder would be seen.
function uncover(picture) {
  if (picture.naturalWidth > 0) picture.closest(".picture")?.querySelector(".placeholder")?.remove();
}

function parse(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  // a parser without scripts makes elements of what is for browsers without scripts
  for (const plain of page.querySelectorAll("noscript")) plain.remove();
  return page;
}

// The tile of an image that was just uploaded.
export async function addTile(pk, placeholder) {
  const response = await fetch(`/images/${pk}/tile`, { headers: { Accept: "text/html" } });
  const tiles = document.querySelector("[data-tiles]");
  if (!response.ok || !tiles) return;
  const tile = document.adoptNode(parse(await response.text()).querySelector("[data-image]"));
  if (placeholder && !tile.querySelector(".placeholder")) {
    placeholder.className = "placeholder";
    tile.querySelector(".picture").prepend(placeholder);
  }
  tiles.prepend(tile);
  document.querySelector("[data-empty]")?.remove();
  adopt(tile);
}

// What the account uses now.
export async function refreshFacts() {
  const response = await fetch("/account", { headers: { Accept: "text/html" } });
  const facts = response.ok && parse(await response.text()).querySelector(".facts");
  if (facts) document.querySelector(".facts")?.replaceWith(document.adoptNode(facts));
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-retry]");
  if (!form) return;
  event.preventDefault();
  await fetch(form.dataset.retry, { method: "POST" });
  await refresh(form.closest("[data-image]"));
});

const pageEnd = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) if (isIntersecting) loadMore(target);
}, { rootMargin: MARGIN });

async function loadMore(link) {
  pageEnd.unobserve(link);
  const response = await fetch(link.href, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const page = parse(await response.text());
  const tiles = document.querySelector("[data-tiles]");
  for (const tile of page.querySelectorAll("[data-tiles] > *")) {
    tiles.append(document.adoptNode(tile));
    adopt(tile);
  }
  const next = page.querySelector("a[data-more]");
  if (next) {
    link.replaceWith(document.adoptNode(next));
    pageEnd.observe(next);
  } else {
    link.remove();
  }
}

document.addEventListener("visibilitychange", listenOrRest);
// "load" does not bubble
document.addEventListener("load", (event) => {
  if (event.target.matches?.("img.thumbnail")) uncover(event.target);
}, true);
adopt(document);
const more = document.querySelector("a[data-more]");
if (more) pageEnd.observe(more);
