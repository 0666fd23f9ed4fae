// Several files at once, each with its progress, a way to cancel it, and what is wrong with it beside its name.

import { addTile, refreshFacts } from "./gallery.js";

const PARALLEL = 2;
const PLACEHOLDER_PX = 16;
const TOO_MANY_UPLOADS = 429;

const form = document.querySelector("form[data-upload]");
const list = document.querySelector(".uploads");
const waiting = [];
let running = 0;

function add(files) {
  for (const file of files) {
    const row = document.getElementById("upload-row").content.firstElementChild.cloneNode(true);
    row.querySelector(".name").textContent = file.name;
    row.querySelector("progress").setAttribute("aria-label", `Progress of ${file.name}`);
    const upload = { file, row, request: null, cancelled: false };
    row.querySelector("button").setAttribute("aria-label", `Cancel ${file.name}`);
    row.querySelector("button").addEventListener("click", () => cancel(upload));
    list.append(row);
    waiting.push(upload);
  }
  startNext();
}

function startNext() {
  while (running < PARALLEL && waiting.length > 0) {
    const upload = waiting.shift();
    running += 1;
    send(upload).finally(() => {
      running -= 1;
      startNext();
    });
  }
}

function cancel(upload) {
  upload.cancelled = true;
  upload.request?.abort();
  upload.row.remove();
}

async function send(upload) {
  const { file } = upload;
  if (upload.cancelled) return;
  const max = Number(form.dataset.maxBytes);
  if (file.size > max) return refuse(upload, `The file has ${file.size} bytes; at most ${max} are taken.`);
  const placeholder = draw(file);
  let answer = await post(upload);
  while (answer.status === TOO_MANY_UPLOADS && !upload.cancelled) {
    await wait(upload, answer.retryAfter);
    answer = await post(upload);
  }
  if (upload.cancelled) return;
  if (answer.status !== 201) {
    const reason = answer.body?.detail ?? "The connection broke off. Choose the file again to try again.";
    return refuse(upload, reason);
  }
  await addTile(answer.body.pk, await placeholder);
  upload.row.remove();
  if (waiting.length === 0) await refreshFacts();
}

function post(upload) {
  return new Promise((resolve) => {
    if (upload.cancelled) return resolve({ status: 0 });
    const request = upload.request = new XMLHttpRequest();
    const progress = upload.row.querySelector("progress");
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress.value = event.loaded / event.total;
    });
    request.addEventListener("loadend", () => resolve({
      status: request.status,
      body: request.response,
      retryAfter: Number(request.getResponseHeader("Retry-After")) || 1,
    }));
    request.open("POST", "/api/images");
    request.responseType = "json";
    const body = new FormData();
    body.append("file", upload.file);
    request.send(body);
  });
}

async function wait(upload, seconds) {
  say(upload, `Too many uploads within a minute: goes on in ${seconds} s.`);
  await new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
  say(upload, "");
}

function say(upload, text) {
  upload.row.querySelector(".message").textContent = text;
}

function refuse(upload, reason) {
  upload.row.classList.add("refused");
  upload.row.querySelector("progress").remove();
  const button = upload.row.querySelector("button");
  button.textContent = "Dismiss";
  button.setAttribute("aria-label", `Dismiss ${upload.file.name}`);
  say(upload, reason);
}

// What stands for the thumbnail until it is there: the picture itself, very small. Nothing for what the browser cannot read.
async function draw(file) {
  try {
    const picture = await createImageBitmap(file, { resizeHeight: PLACEHOLDER_PX, resizeQuality: "medium" });
    const canvas = document.createElement("canvas");
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").drawImage(picture, 0, 0);
    return canvas;
  } catch {
    return null;
  }
}

if (form) {
  const input = form.querySelector("input[type=file]");
  form.querySelector("[data-plain]").hidden = true;
  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = "";
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) form.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    add([...event.dataTransfer.files]);
  });
  // uploads under way end with the page: ask first
  window.addEventListener("beforeunload", (event) => {
    if (running > 0) event.preventDefault();
  });
}
