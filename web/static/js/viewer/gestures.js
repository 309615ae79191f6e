// The wheel, the mouse and fingers on the photo in the viewer: zoom, move, go on to another one.

const WHEEL = 0.0016; // of the logarithm of the size, for each pixel that the wheel turned
const PINCHED = 0.01; // the same for two fingers on a touchpad, which comes as a wheel with Ctrl
const LINE = 32; // pixels, where a wheel turns by lines
const SWIPE = 60; // pixels that a finger goes across before it leads to another photo
const STILL = 8; // pixels that are no movement
const TAP = 350; // ms between two that are one double tap
const NEAR = 30; // pixels between them

const distance = (one, other) => Math.hypot(one.x - other.x, one.y - other.y);
const between = (one, other) => ({ x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 });

// step(by): a promise that tells whether there was another photo.
export function listen(view, zoom, step) {
  const down = new Map(); // by pointer: where it is
  let start = null; // of the first one
  let farthest = 0; // that it went from there
  let pinched = false;
  let tapped = { time: 0, x: 0, y: 0 };

  view.addEventListener("wheel", (event) => {
    // Where the photo stands above its facts, the wheel goes down to them.
    const scrolls = view.closest("dialog").scrollHeight > view.closest("dialog").clientHeight;
    if (scrolls && !event.ctrlKey && !zoom.zoomed) return;
    event.preventDefault();
    const turned = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : LINE);
    zoom.zoomTo(zoom.now * Math.exp(-turned * (event.ctrlKey ? PINCHED : WHEEL)), { x: event.clientX, y: event.clientY });
  }, { passive: false });

  view.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button, .drawing")) return;
    view.setPointerCapture(event.pointerId);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (down.size === 1) {
      start = { x: event.clientX, y: event.clientY };
      farthest = 0;
      pinched = false;
    } else zoom.lean(0);
  });

  view.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    down.set(event.pointerId, now);
    farthest = Math.max(farthest, distance(now, start));
    if (down.size === 2) {
      pinched = true;
      const [other] = [...down].filter(([pointer]) => pointer !== event.pointerId).map(([, place]) => place);
      const [from, to] = [between(before, other), between(now, other)];
      if (zoom.zoomed) zoom.pan(to.x - from.x, to.y - from.y);
      zoom.zoomTo((zoom.now * distance(now, other)) / Math.max(1, distance(before, other)), to);
    } else if (zoom.zoomed) {
      if (farthest > STILL) zoom.pan(now.x - before.x, now.y - before.y);
    } else if (event.pointerType === "touch" && !pinched && down.size === 1) zoom.lean(now.x - start.x);
  });

  view.addEventListener("pointerup", async (event) => {
    if (!down.delete(event.pointerId) || down.size) return;
    const end = { x: event.clientX, y: event.clientY };
    const [x, y] = [end.x - start.x, end.y - start.y];
    if (farthest <= STILL) {
      const twice = event.timeStamp - tapped.time < TAP && distance(end, tapped) < NEAR;
      tapped = twice ? { time: 0, x: 0, y: 0 } : { time: event.timeStamp, ...end };
      if (twice) zoom.toggle(end);
    } else if (event.pointerType === "touch" && !zoom.zoomed && !pinched && Math.abs(x) > SWIPE && Math.abs(x) > 1.5 * Math.abs(y)) {
      if (await step(x < 0 ? 1 : -1)) return;
    }
    zoom.lean(0);
  });

  // The page scrolls with this finger instead.
  view.addEventListener("pointercancel", (event) => {
    down.delete(event.pointerId);
    zoom.lean(0);
  });
}
