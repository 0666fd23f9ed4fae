/*
 * Thumbnails by sharp, in this process, on one thread.
 *
 * Each line of stdin is PATH, HEIGHT[,HEIGHT], OUT_PREFIX and FORMAT, apart by tabs; the answer is a line of JSON.
 * `--peak PATH HEIGHTS` prints, in KiB, how far the memory of a process rises above what it holds with the file read.
 */
"use strict";

const fs = require("node:fs");
const readline = require("node:readline");
const sharp = require("sharp");

sharp.concurrency(1);
sharp.cache(false);

const files = new Map();

function read(path) {
  if (!files.has(path)) files.set(path, fs.readFileSync(path));
  return files.get(path);
}

async function thumbnails(data, heights, extension) {
  const made = [];
  for (const height of heights) {
    const picture = sharp(data).rotate().resize({ height, withoutEnlargement: true });
    made.push(await (extension === "jpg" ? picture.jpeg({ quality: 82 }) : picture.png()).toBuffer());
  }
  return made;
}

async function answer(line) {
  const [path, list, prefix, extension] = line.split("\t");
  const data = read(path);
  const heights = list.split(",").map(Number);
  const started = process.cpuUsage();
  const made = await thumbnails(data, heights, extension);
  const { user, system } = process.cpuUsage(started);
  heights.forEach((height, i) => fs.writeFileSync(`${prefix}-${height}.${extension}`, made[i]));
  return { cpu_ms: (user + system) / 1000, bytes: made.map((thumbnail) => thumbnail.length) };
}

function memory(field) {
  const line = fs.readFileSync("/proc/self/status", "utf8").split("\n").find((l) => l.startsWith(`${field}:`));
  return Number(line.split(/\s+/)[1]);
}

async function peak(path, heights) {
  const extension = path.slice(path.lastIndexOf(".") + 1);
  const data = read(path);
  const tiny = sharp({ create: { width: 32, height: 24, channels: 3, background: "black" } });
  await thumbnails(await tiny.toFormat(extension).toBuffer(), [8], extension);
  fs.writeFileSync("/proc/self/clear_refs", "5");
  const before = memory("VmRSS");
  await thumbnails(data, heights.split(",").map(Number), extension);
  return memory("VmHWM") - before;
}

async function main() {
  const [mode, path, heights] = process.argv.slice(2);
  if (mode === "--peak") {
    console.log(await peak(path, heights));
    return;
  }
  console.log(JSON.stringify({ version: `sharp ${sharp.versions.sharp} with libvips ${sharp.versions.vips}` }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(line)));
  }
}

main();
