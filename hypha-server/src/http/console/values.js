// Values of services: MessagePack as the HTTP interface carries it, and elements that show values.
//
// Values come from services of other users. They become text nodes, canvases and images, never
// markup, and only images in formats without scripts.

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Maximum number of entries of a list or object that are shown. */
const ENTRIES_MAX = 200;
/** Maximum number of pixels of a picture, and of points of a plot. */
const PIXELS_MAX = 16e6;
export const POINTS_MAX = 5000;
/** Control characters and marks of direction, which change how a text looks. */
const UNSEEN = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** Encodes a value as MessagePack. */
export function encode(value) {
  const parts = [];
  write(value, parts);
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function head(byte, size, value) {
  const bytes = new Uint8Array(1 + size);
  bytes[0] = byte;
  const view = new DataView(bytes.buffer);
  if (size === 1) view.setUint8(1, value);
  else if (size === 2) view.setUint16(1, value);
  else view.setUint32(1, value);
  return bytes;
}

/** Returns the head of a value with a length. `codes` are the codes for 8, 16 and 32 bits. */
function sized(length, codes) {
  if (codes[0] && length < 256) return head(codes[0], 1, length);
  return length < 65536 ? head(codes[1], 2, length) : head(codes[2], 4, length);
}

function write(value, parts) {
  if (value === null || value === undefined) parts.push(Uint8Array.of(0xc0));
  else if (value === false || value === true) parts.push(Uint8Array.of(value ? 0xc3 : 0xc2));
  else if (typeof value === "bigint") {
    const bytes = new Uint8Array(9);
    bytes[0] = value < 0n ? 0xd3 : 0xcf;
    new DataView(bytes.buffer).setBigUint64(1, BigInt.asUintN(64, value));
    parts.push(bytes);
  } else if (typeof value === "number") {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      if (value >= 0 && value < 128) parts.push(Uint8Array.of(value));
      else if (value < 0 && value >= -32) parts.push(Uint8Array.of(256 + value));
      else write(BigInt(value), parts);
    } else {
      const bytes = new Uint8Array(9);
      bytes[0] = 0xcb;
      new DataView(bytes.buffer).setFloat64(1, value);
      parts.push(bytes);
    }
  } else if (value instanceof Float) {
    const bytes = new Uint8Array(9);
    bytes[0] = 0xcb;
    new DataView(bytes.buffer).setFloat64(1, value.number);
    parts.push(bytes);
  } else if (typeof value === "string") {
    const bytes = encoder.encode(value);
    if (bytes.length < 32) parts.push(Uint8Array.of(0xa0 | bytes.length));
    else parts.push(sized(bytes.length, [0xd9, 0xda, 0xdb]));
    parts.push(bytes);
  } else if (value instanceof Uint8Array) {
    parts.push(sized(value.length, [0xc4, 0xc5, 0xc6]), value);
  } else if (Array.isArray(value)) {
    if (value.length < 16) parts.push(Uint8Array.of(0x90 | value.length));
    else parts.push(sized(value.length, [0, 0xdc, 0xdd]));
    for (const item of value) write(item, parts);
  } else {
    const entries = Object.entries(value);
    if (entries.length < 16) parts.push(Uint8Array.of(0x80 | entries.length));
    else parts.push(sized(entries.length, [0, 0xde, 0xdf]));
    for (const [key, item] of entries) {
      write(key, parts);
      write(item, parts);
    }
  }
}

/** A number that is sent as a floating-point number even if it is whole. */
export class Float {
  constructor(number) {
    this.number = number;
  }
  toJSON() {
    return this.number;
  }
}

/** Thrown if the bytes end within a value. */
class Incomplete extends Error {}

/**
 * Decodes as many values as `bytes` contains. Returns them, and the number of bytes that they take.
 */
export function decodeAll(bytes) {
  const reader = new Reader(bytes);
  const values = [];
  let end = 0;
  while (end < bytes.length) {
    try {
      values.push(reader.value(0));
      end = reader.at;
    } catch (error) {
      if (error instanceof Incomplete) break;
      throw error;
    }
  }
  return { values, end };
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  take(count) {
    if (this.at + count > this.bytes.length) throw new Incomplete();
    const start = this.at;
    this.at += count;
    return start;
  }

  unsigned(size) {
    const at = this.take(size);
    if (size === 1) return this.view.getUint8(at);
    if (size === 2) return this.view.getUint16(at);
    if (size === 4) return this.view.getUint32(at);
    return small(this.view.getBigUint64(at));
  }

  signed(size) {
    const at = this.take(size);
    if (size === 1) return this.view.getInt8(at);
    if (size === 2) return this.view.getInt16(at);
    if (size === 4) return this.view.getInt32(at);
    return small(this.view.getBigInt64(at));
  }

  data(length) {
    const at = this.take(length);
    return this.bytes.slice(at, at + length);
  }

  list(length, depth) {
    const items = [];
    for (let index = 0; index < length; index += 1) items.push(this.value(depth + 1));
    return items;
  }

  map(length, depth) {
    const entries = [];
    for (let index = 0; index < length; index += 1) {
      const key = this.value(depth + 1);
      entries.push([typeof key === "string" ? key : String(key), this.value(depth + 1)]);
    }
    // Has no prototype, so that a key such as `__proto__` is only a key.
    const map = Object.create(null);
    for (const [key, item] of entries) map[key] = item;
    return map;
  }

  value(depth) {
    if (depth > 200) throw new Error("the result is nested too deeply to be shown");
    const code = this.unsigned(1);
    if (code < 0x80) return code;
    if (code < 0x90) return this.map(code & 15, depth);
    if (code < 0xa0) return this.list(code & 15, depth);
    if (code < 0xc0) return decoder.decode(this.data(code & 31));
    if (code >= 0xe0) return code - 256;
    switch (code) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.data(this.unsigned(1 << (code - 0xc4)));
      case 0xc7:
      case 0xc8:
      case 0xc9: {
        const length = this.unsigned(1 << (code - 0xc7));
        this.take(1);
        return this.data(length);
      }
      case 0xca:
        return this.view.getFloat32(this.take(4));
      case 0xcb:
        return this.view.getFloat64(this.take(8));
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xcf:
        return this.unsigned(1 << (code - 0xcc));
      case 0xd0:
      case 0xd1:
      case 0xd2:
      case 0xd3:
        return this.signed(1 << (code - 0xd0));
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        this.take(1);
        return this.data(1 << (code - 0xd4));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return decoder.decode(this.data(this.unsigned(1 << (code - 0xd9))));
      case 0xdc:
      case 0xdd:
        return this.list(this.unsigned(2 << (code - 0xdc)), depth);
      case 0xde:
      case 0xdf:
        return this.map(this.unsigned(2 << (code - 0xde)), depth);
      default:
        throw new Error(`the result has the invalid byte ${code}`);
    }
  }
}

function small(number) {
  const fits = number >= Number.MIN_SAFE_INTEGER && number <= Number.MAX_SAFE_INTEGER;
  return fits ? Number(number) : number;
}

const TYPES = {
  bool: Uint8Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
};

/** Returns the elements of an array value, or `null` if the value is no array. */
export function elements(value) {
  if (value === null || typeof value !== "object" || value._rtype !== "ndarray") return null;
  const { _rvalue: bytes, _rshape: shape, _rdtype: dtype } = value;
  const type = Object.hasOwn(TYPES, dtype) ? TYPES[dtype] : null;
  if (!type || !(bytes instanceof Uint8Array) || !Array.isArray(shape)) return null;
  if (!shape.every((length) => Number.isSafeInteger(length) && length >= 0)) return null;
  const count = shape.reduce((product, length) => product * length, 1);
  if (count * type.BYTES_PER_ELEMENT !== bytes.length) return null;
  return { shape, dtype, data: new type(bytes.slice().buffer) };
}

/** Returns an array value for a file of numpy, or for nested lists of numbers. */
export function array(source) {
  return source instanceof Uint8Array ? fromNpy(source) : fromLists(source);
}

const NPY = {
  b1: "bool", i1: "int8", u1: "uint8", i2: "int16", u2: "uint16", i4: "int32", u4: "uint32",
  i8: "int64", u8: "uint64", f4: "float32", f8: "float64",
};

function fromNpy(bytes) {
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
  if (!magic.every((byte, index) => bytes[index] === byte)) {
    throw new Error("the file is no .npy file");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = bytes[6] === 1 ? 10 : 12;
  const length = bytes[6] === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const text = decoder.decode(bytes.slice(start, start + length));
  const dtype = /'descr':\s*'([<>|=])([a-z]\d+)'/.exec(text);
  const shape = /'shape':\s*\(([^)]*)\)/.exec(text);
  const known = dtype && Object.hasOwn(NPY, dtype[2]) ? NPY[dtype[2]] : null;
  if (!known || !shape || dtype[1] === ">" || /'fortran_order':\s*True/.test(text)) {
    throw new Error("the .npy file has an order or type of elements that is not supported");
  }
  return {
    _rtype: "ndarray",
    _rvalue: bytes.slice(start + length),
    _rshape: shape[1].split(",").map((part) => part.trim()).filter(Boolean).map(Number),
    _rdtype: known,
  };
}

function fromLists(lists) {
  const shape = [];
  for (let at = lists; Array.isArray(at); at = at[0]) shape.push(at.length);
  const flat = [];
  const visit = (item, depth) => {
    if (depth === shape.length) {
      if (typeof item !== "number") throw new Error("an array can contain only numbers");
      flat.push(item);
      return;
    }
    if (!Array.isArray(item) || item.length !== shape[depth]) {
      throw new Error("the rows of an array must have the same length");
    }
    for (const inner of item) visit(inner, depth + 1);
  };
  visit(lists, 0);
  const data = new Float64Array(flat);
  return {
    _rtype: "ndarray",
    _rvalue: new Uint8Array(data.buffer),
    _rshape: shape,
    _rdtype: "float64",
  };
}

/** Returns a text with escapes in place of characters that would change how it looks. */
function visible(text) {
  return text.replace(UNSEEN, (it) => {
    return it === "\n" || it === "\t" ? it : `\\u{${it.codePointAt(0).toString(16)}}`;
  });
}

/** Creates an element with a class, and children that are elements or texts. */
export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children.map((child) => (typeof child === "string" ? visible(child) : child)));
  return made;
}

/** Returns an element that shows a value. */
export function show(value) {
  const found = elements(value);
  if (found) return showArray(found);
  const bytes = bytesOf(value);
  if (bytes) return showBytes(bytes.data);
  const isSeries = Array.isArray(value) && value.length > 2 &&
    value.every((item) => typeof item === "number");
  if (isSeries) return element("div", "", plot(value), tree(value));
  return tree(value);
}

/** Returns the bytes of a binary value. */
function bytesOf(value) {
  if (value instanceof Uint8Array) return { data: value, type: "" };
  if (value === null || typeof value !== "object") return null;
  const data = value._rvalue;
  const kinds = ["memoryview", "blob", "file", "bytes", "arraybuffer"];
  if (!kinds.includes(value._rtype) || !(data instanceof Uint8Array)) return null;
  return { data, type: String(value._rmime_type ?? "") };
}

/** Returns the content type of an image, or `null`, also for SVG, which may contain scripts. */
function imageType(bytes) {
  const starts = (...magic) => magic.every((byte, index) => bytes[index] === byte);
  if (starts(0x89, 0x50, 0x4e, 0x47)) return "image/png";
  if (starts(0xff, 0xd8, 0xff)) return "image/jpeg";
  if (starts(0x47, 0x49, 0x46, 0x38)) return "image/gif";
  const webp = starts(0x52, 0x49, 0x46, 0x46) && bytes[8] === 0x57 && bytes[9] === 0x45;
  return webp ? "image/webp" : null;
}

/** Returns an element that shows bytes and offers them as a file. */
export function showBytes(bytes, name) {
  const type = imageType(bytes);
  // Browsers download the type `application/octet-stream`, and never show it as a page.
  const blob = new Blob([bytes], { type: type ?? "application/octet-stream" });
  const url = URL.createObjectURL(blob);
  const seen = name?.replace(UNSEEN, "");
  const link = element("a", "button", `Download ${seen ? `${seen}, ` : ""}${size(bytes.length)}`);
  link.href = url;
  link.download = seen || (type ? `result.${type.slice(6)}` : "result.bin");
  const box = element("div", "bytes");
  if (type) {
    const image = element("img");
    image.src = url;
    image.alt = `Image, ${size(bytes.length)}`;
    box.append(image);
  } else {
    const start = Array.from(bytes.slice(0, 32), (byte) => byte.toString(16).padStart(2, "0"));
    box.append(element("code", "", start.join(" ") + (bytes.length > 32 ? " …" : "")));
  }
  box.append(link);
  return box;
}

function size(length) {
  if (length < 1000) return `${length} bytes`;
  return length < 1e6 ? `${(length / 1e3).toFixed(1)} KB` : `${(length / 1e6).toFixed(1)} MB`;
}

function showArray({ shape, dtype, data }) {
  const caption = `${dtype} array of ${shape.join(" × ") || "one number"}`;
  const box = element("figure", "array");
  const [height, width, channels = 1] = shape;
  const isPicture = (shape.length === 2 || (shape.length === 3 && [1, 3, 4].includes(channels))) &&
    height > 1 && width > 1 && height * width <= PIXELS_MAX;
  if (isPicture) box.append(picture(data, height, width, channels, caption));
  else if (shape.length === 1 && data.length > 2) box.append(plot(Array.from(data, Number)));
  const { low, high } = range(data);
  const words = data.length ? `${caption}, from ${number(low)} to ${number(high)}` : caption;
  box.append(element("figcaption", "quiet", words));
  if (!isPicture && data.length) {
    const first = Array.from(data.slice(0, 20), String).join(", ");
    box.append(element("code", "", first + (data.length > 20 ? ", …" : "")));
  }
  return box;
}

function range(data) {
  let low = Infinity;
  let high = -Infinity;
  for (const item of data) {
    const value = Number(item);
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}

function number(value) {
  return Math.abs(value) < 1e9 && Number.isInteger(value) ? String(value)
    : String(Number(value.toPrecision(4)));
}

/** Draws an array as a picture. Bytes are drawn unchanged, other numbers are scaled to 0 to 255. */
function picture(data, height, width, channels, caption) {
  const canvas = element("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Picture of a ${caption}`);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const isBytes = data instanceof Uint8Array;
  const { low, high } = isBytes ? { low: 0, high: 255 } : range(data);
  const scale = high > low ? 255 / (high - low) : 0;
  const level = (index) => (Number(data[index]) - low) * scale;
  for (let pixel = 0; pixel < height * width; pixel += 1) {
    const from = pixel * channels;
    const to = pixel * 4;
    for (let color = 0; color < 3; color += 1) {
      image.data[to + color] = level(channels === 1 ? from : from + color);
    }
    image.data[to + 3] = channels === 4 ? level(from + 3) : 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Creates an element of a drawing. */
function drawn(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Returns a plot of numbers over their index. `end` is the index of the last one. */
export function plot(numbers, end = numbers.length - 1) {
  // The inner drawing is stretched to the width of the page, but the numbers of the axes are not.
  const area = { x: "15%", width: "85%", height: "84%" };
  const view = { viewBox: "0 0 360 120", preserveAspectRatio: "none" };
  const left = { x: "14%", "text-anchor": "end" };
  const svg = drawn(
    "svg", { class: "plot", role: "img" },
    drawn("svg", { ...area, ...view }, drawn("polyline", {})),
    drawn("text", { ...left, y: "12%" }),
    drawn("text", { ...left, y: "82%" }),
    drawn("text", { x: "15%", y: "97%" }),
    drawn("text", { x: "99%", y: "97%", "text-anchor": "end" }),
  );
  replot(svg, numbers, end);
  return svg;
}

/** Updates a plot. */
export function replot(svg, numbers, end) {
  const last = numbers.slice(-POINTS_MAX);
  const shown = last.map(Number).filter(Number.isFinite);
  const { low, high } = range(shown);
  const height = high > low ? 112 / (high - low) : 0;
  const step = 360 / Math.max(1, shown.length - 1);
  const points = shown.map(
    (value, index) => `${(index * step).toFixed(1)},${(116 - (value - low) * height).toFixed(1)}`,
  );
  svg.querySelector("polyline").setAttribute("points", points.join(" "));
  const begin = end + 1 - last.length;
  const limits = shown.length ? [number(high), number(low), begin, end] : ["", "", "", ""];
  svg.querySelectorAll("text").forEach((text, index) => (text.textContent = limits[index]));
  const values = `from ${limits[1]} to ${limits[0]}`;
  const label = `Plot of ${last.length} numbers ${values}, with index ${begin} to ${end}`;
  svg.setAttribute("aria-label", shown.length ? label : "Plot without numbers");
}

/** Returns a value as a tree that can be folded. */
function tree(value, depth = 0) {
  if (value === null || typeof value !== "object") return leaf(value);
  if (value instanceof Uint8Array) return element("code", "", size(value.length));
  if (depth > 0) {
    const found = elements(value);
    if (found || bytesOf(value)) return show(value);
  }
  const entries = Array.isArray(value) ? value.map((item, index) => [index, item])
    : Object.entries(value);
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  if (entries.length === 0) return element("code", "", open + close);
  const list = element("ul", "tree");
  for (const [key, item] of entries.slice(0, ENTRIES_MAX)) {
    list.append(element("li", "", element("span", "key", `${key}: `), tree(item, depth + 1)));
  }
  if (entries.length > ENTRIES_MAX) {
    list.append(element("li", "quiet", `${entries.length - ENTRIES_MAX} more`));
  }
  const count = entries.length === 1 ? "1 entry" : `${entries.length} entries`;
  const folded = element("details", "", element("summary", "", `${open} ${count} ${close}`), list);
  folded.open = depth < 2;
  return folded;
}

function leaf(value) {
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return element("code", typeof value === "string" ? "text" : "value", text);
}
