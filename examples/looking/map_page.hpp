// The map as one HTML file that needs nothing else: hovering shows a protein's id and label, the wheel zooms, dragging
// moves, the legend hides and shows labels, and a field finds ids.
#pragma once

#include "map_picture.hpp"

#include <nlohmann/json.hpp>

namespace looking {

/// JSON that may stand inside a script element: no '<', and bytes that are no UTF-8 are replaced.
inline std::string script_json(nlohmann::json const &value) {
    std::string text;
    for (char const c : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))
        text += c == '<' ? std::string("\\u003c") : std::string(1, c);
    return text;
}

inline std::string html_text(std::string const &text) {
    std::string result;
    for (char const c : text)
        result += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
    return result;
}

inline constexpr char const *page_style = R"css(
html, body { margin: 0; height: 100%; font: 15px sans-serif; color: #222; background: #fff; overflow: hidden; }
#map { position: absolute; inset: 0; width: 100%; height: 100%; cursor: crosshair; touch-action: none; }
#top { position: absolute; left: 14px; top: 10px; pointer-events: none; }
#top b { font-size: 19px; }
#side { position: absolute; right: 14px; top: 10px; max-height: calc(100% - 24px); overflow-y: auto;
        background: #ffffffd8; padding: 6px 10px; border-radius: 6px; }
#side input { width: 11em; font: inherit; }
#legend div { cursor: pointer; padding: 2px 0; user-select: none; white-space: nowrap; }
#legend div.off { opacity: 0.35; }
#legend span { display: inline-block; width: 11px; height: 11px; border-radius: 50%; margin-right: 7px; }
#tip { position: absolute; display: none; pointer-events: none; background: #222e; color: #fff; padding: 4px 8px;
       border-radius: 5px; max-width: 34em; overflow-wrap: anywhere; }
)css";

inline constexpr char const *page_script = R"js(
"use strict";
const canvas = document.getElementById("map"), pen = canvas.getContext("2d");
const tip = document.getElementById("tip"), legend = document.getElementById("legend");
const field = document.getElementById("find"), found = document.getElementById("found");
const count = data.x.length, hidden = data.groups.map(() => false);
let matches = new Set(), hovered = -1, view = null, drag = null, waiting = false;

// view: pixel = origin + scale * coordinate, with y upwards
function fit() {
  let low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < count; ++i) {
    low = [Math.min(low[0], data.x[i]), Math.min(low[1], data.y[i])];
    high = [Math.max(high[0], data.x[i]), Math.max(high[1], data.y[i])];
  }
  const w = canvas.clientWidth, h = canvas.clientHeight;
  const scale = 0.9 * Math.min(w / (high[0] - low[0] || 1), h / (high[1] - low[1] || 1));
  view = { scale, x: (w - scale * (low[0] + high[0])) / 2, y: (h + scale * (low[1] + high[1])) / 2 };
}
const pixel_x = i => view.x + view.scale * data.x[i];
const pixel_y = i => view.y - view.scale * data.y[i];

function dot(i, radius, color) {
  pen.fillStyle = color;
  pen.beginPath();
  pen.arc(pixel_x(i), pixel_y(i), radius, 0, 7);
  pen.fill();
}
function draw() {
  waiting = false;
  const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  canvas.width = Math.round(w * ratio);
  canvas.height = Math.round(h * ratio);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, w, h);
  const radius = count > 20000 ? 1.6 : count > 3000 ? 2.3 : count > 200 ? 3.5 : 5;
  pen.globalAlpha = matches.size ? 0.25 : 0.8;
  for (let turn = 0; turn < data.groups.length; ++turn) {
    const g = (turn + data.coloured) % data.groups.length; // the grey ones below all, the rarest label on top
    if (!hidden[g])
      for (let i = 0; i < count; ++i)
        if (data.group[i] === g) dot(i, radius, data.groups[g].color);
  }
  pen.globalAlpha = 1;
  for (const i of matches) {
    dot(i, radius + 3.5, "#000");
    dot(i, radius + 2, data.groups[data.group[i]].color);
  }
  if (hovered >= 0) {
    dot(hovered, radius + 4, "#000");
    dot(hovered, radius + 2.5, data.groups[data.group[hovered]].color);
  }
}
function redraw() {
  if (!waiting) { waiting = true; window.requestAnimationFrame(draw); }
}
function nearest(px, py) {
  let best = -1, least = 144; // within 12 pixels
  for (let i = 0; i < count; ++i) {
    if (hidden[data.group[i]]) continue;
    const dx = pixel_x(i) - px, dy = pixel_y(i) - py, d = dx * dx + dy * dy;
    if (d < least) { least = d; best = i; }
  }
  return best;
}
function hover(px, py) {
  const i = nearest(px, py);
  tip.style.display = i < 0 ? "none" : "block";
  if (i >= 0) {
    tip.textContent = data.labels[data.label[i]] ? data.ids[i] + " \u00b7 " + data.labels[data.label[i]] : data.ids[i];
    const right = px > canvas.clientWidth / 2, low = py > canvas.clientHeight / 2;
    tip.style.left = right ? "" : px + 14 + "px";
    tip.style.right = right ? canvas.clientWidth - px + 14 + "px" : "";
    tip.style.top = low ? "" : py + 14 + "px";
    tip.style.bottom = low ? canvas.clientHeight - py + 14 + "px" : "";
  }
  if (i !== hovered) { hovered = i; redraw(); }
}
function zoom(px, py, factor) {
  view.x = px + factor * (view.x - px);
  view.y = py + factor * (view.y - py);
  view.scale *= factor;
  redraw();
}
canvas.addEventListener("pointermove", e => {
  if (!drag) return hover(e.offsetX, e.offsetY);
  view.x += e.offsetX - drag[0];
  view.y += e.offsetY - drag[1];
  drag = [e.offsetX, e.offsetY];
  redraw();
});
canvas.addEventListener("pointerdown", e => {
  canvas.setPointerCapture(e.pointerId);
  hover(e.offsetX, e.offsetY);
  drag = [e.offsetX, e.offsetY];
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { drag = null; });
canvas.addEventListener("pointerleave", () => { if (!drag) hover(-1e9, -1e9); });
canvas.addEventListener("wheel", e => {
  e.preventDefault();
  zoom(e.offsetX, e.offsetY, Math.exp(-0.0015 * e.deltaY));
}, { passive: false });
canvas.addEventListener("dblclick", () => { fit(); redraw(); });
window.addEventListener("resize", () => { fit(); redraw(); });
field.addEventListener("input", () => {
  const text = field.value.trim().toLowerCase();
  matches = new Set();
  for (let i = 0; text && i < count; ++i)
    if (data.ids[i].toLowerCase().includes(text) || data.labels[data.label[i]].toLowerCase() === text) matches.add(i);
  found.textContent = text ? matches.size + " found" : "";
  redraw();
});
data.groups.forEach((group, g) => {
  const line = document.createElement("div"), mark = document.createElement("span");
  mark.style.background = group.color;
  line.appendChild(mark);
  line.appendChild(document.createTextNode(group.name + " (" + group.count + ")"));
  line.addEventListener("click", () => {
    hidden[g] = !hidden[g];
    line.className = hidden[g] ? "off" : "";
    redraw();
  });
  legend.appendChild(line);
});
fit();
draw();
)js";

/// The data as a line of JavaScript.
inline std::string page_data(Map const &map, Groups const &groups) {
    nlohmann::json list = nlohmann::json::array(), names = nlohmann::json::array(), label = nlohmann::json::array();
    std::map<std::string, std::size_t> numbers; // each label is written once
    for (auto const &one : map.labels) {
        auto const [at, fresh] = numbers.emplace(one, numbers.size());
        if (fresh)
            names.push_back(one);
        label.push_back(at->second);
    }
    for (std::size_t g = 0; g < groups.names.size(); ++g)
        list.push_back({{"name", groups.names[g]},
                        {"color", groups.colors[g]},
                        {"count", std::count(groups.of.begin(), groups.of.end(), g)}});
    std::string text = "const data = {ids: " + script_json(map.ids) + ",\nlabels: " + script_json(names) +
                       ",\nlabel: " + script_json(label) + ",\ngroups: " + script_json(list) +
                       ",\ncoloured: " + std::to_string(groups.coloured) + ",\ngroup: " + script_json(groups.of);
    for (std::size_t axis : {0u, 1u}) {
        text += axis == 0 ? ",\nx: [" : "],\ny: [";
        for (std::size_t i = 0; i < map.points.size(); ++i)
            text += (i ? "," : "") + short_number(map.points[i][axis]);
    }
    return text + "]};\n";
}

inline void write_page(Map const &map, Groups const &groups, std::string const &path) {
    protlm::AtomicFile file(path);
    file.write("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>" + html_text(map.title) +
               "</title>\n<style>" + page_style + "</style>\n</head>\n<body>\n<canvas id=\"map\"></canvas>\n");
    file.write("<div id=\"top\"><b>" + html_text(map.title) + "</b><br>" + html_text(map.x_axis) + "; " +
               html_text(map.y_axis) + "<br><small>wheel: zoom, drag: move, double click: all</small></div>\n");
    file.write("<div id=\"side\"><input id=\"find\" placeholder=\"find id or label\"> <small id=\"found\"></small>"
               "<div id=\"legend\"></div></div>\n<div id=\"tip\"></div>\n<script>\n");
    file.write(page_data(map, groups) + page_script + "</script>\n</body>\n</html>\n");
    file.commit();
}

} // namespace looking
