// Times in the reader's own zone, and the time that links have left.

const SECOND_MS = 1000;

export function showTimes(root) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[data-local]")) {
    time.title = time.textContent;
    time.textContent = format.format(new Date(time.dateTime));
  }
}

function span(seconds) {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function countDown() {
  for (const time of document.querySelectorAll("time[data-left]")) {
    const seconds = Math.floor((new Date(time.dateTime) - Date.now()) / SECOND_MS);
    if (seconds > 0) time.textContent = span(seconds);
    else time.closest("[data-expiring]")?.remove();
  }
}

if (document.querySelector("time[data-left]")) setInterval(countDown, SECOND_MS);
