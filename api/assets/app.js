// What HTML alone cannot do, each in a module of its own. Every page works without them.
import "./copy.js";
import "./gallery.js";
import "./selection.js";
import "./times.js";
import "./uploads.js";

for (const element of document.querySelectorAll("[data-scripted]")) element.hidden = false;
