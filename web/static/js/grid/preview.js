// What stands in a tile before its thumbnail is there: the photo's twelve pixels, drawn as a smooth blur.

const COLUMNS = 4;
const ROWS = 3;
const TIMES = 4; // each pixel is spread over so many, smoothly; the browser's own enlarging alone would show the corners

// Of each of `count` places in each of the enlarged pixels, along one side: a uniform quadratic B-spline.
function weights(count) {
  return Array.from({ length: count * TIMES }, (_, pixel) => {
    const at = (pixel + 0.5) / TIMES - 0.5;
    const nearest = Math.round(at);
    const f = at - nearest;
    const row = new Float32Array(count);
    [(0.5 - f) ** 2 / 2, 0.75 - f * f, (0.5 + f) ** 2 / 2].forEach((weight, i) => {
      row[Math.min(count - 1, Math.max(0, nearest - 1 + i))] += weight;
    });
    return row;
  });
}

const across = weights(COLUMNS);
const down = weights(ROWS);
const spare = []; // canvases that were used: making one takes longer than drawing on it

function blank() {
  const canvas = document.createElement("canvas");
  canvas.width = COLUMNS * TIMES;
  canvas.height = ROWS * TIMES;
  // Read back at once, so that it stays off the graphics card: a hundred of these are on the page.
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  return { canvas, context, image: context.createImageData(canvas.width, canvas.height) };
}

// text: base64 of RGB bytes, rows from the top. Gives { canvas, … }, or null for what is no such text.
export function draw(text) {
  let bytes;
  try {
    bytes = atob(text);
  } catch {
    return null;
  }
  if (bytes.length !== 3 * COLUMNS * ROWS) return null;
  const drawn = spare.pop() ?? blank();
  const { image } = drawn;
  let at = 0;
  for (const vertical of down) {
    for (const horizontal of across) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let row = 0; row < ROWS; row++) {
          if (!vertical[row]) continue;
          for (let column = 0; column < COLUMNS; column++) {
            sum += vertical[row] * horizontal[column] * bytes.charCodeAt(3 * (COLUMNS * row + column) + channel);
          }
        }
        image.data[at++] = sum;
      }
      image.data[at++] = 255;
    }
  }
  drawn.context.putImageData(image, 0, 0);
  return drawn;
}

// It is shown no more.
export const forget = (drawn) => spare.push(drawn);
