/** How many octets `text` takes in UTF-8. A lone surrogate counts as U+FFFD, as it is written. */
export function utf8Length(text: string): number {
  let length = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    if (unit < 0x800) {
      length += 1
    } else if (isHighSurrogate(unit) && isLowSurrogate(text.charCodeAt(i + 1))) {
      length += 2
      i++
    } else {
      length += 2
    }
  }
  return length
}

/**
 * Writes `text` as UTF-8 and returns where it ends. Allocates nothing, unlike `TextEncoder.encodeInto`.
 * The caller has made room for {@link utf8Length} octets.
 */
export function writeUtf8(bytes: Uint8Array, start: number, text: string): number {
  let at = start
  for (let i = 0; i < text.length; i++) {
    let point = text.charCodeAt(i)
    if (point < 0x80) {
      bytes[at++] = point
      continue
    }
    if (point < 0x800) {
      bytes[at++] = 0xc0 | (point >> 6)
      bytes[at++] = 0x80 | (point & 0x3f)
      continue
    }
    if (isHighSurrogate(point) && isLowSurrogate(text.charCodeAt(i + 1))) {
      point = 0x10000 + ((point - 0xd800) << 10) + (text.charCodeAt(++i) - 0xdc00)
      bytes[at++] = 0xf0 | (point >> 18)
      bytes[at++] = 0x80 | ((point >> 12) & 0x3f)
    } else {
      if (point >= 0xd800 && point < 0xe000) point = 0xfffd
      bytes[at++] = 0xe0 | (point >> 12)
    }
    bytes[at++] = 0x80 | ((point >> 6) & 0x3f)
    bytes[at++] = 0x80 | (point & 0x3f)
  }
  return at
}

/** The longest beginning of `text` that fits `octetsMax` octets of UTF-8, never cutting a character. */
export function cutToUtf8(text: string, octetsMax: number): string {
  if (text.length * 3 <= octetsMax || utf8Length(text) <= octetsMax) return text
  let cut = ''
  let octets = 0
  for (const character of text) {
    octets += utf8Length(character)
    if (octets > octetsMax) break
    cut += character
  }
  return cut
}

// charCodeAt past the end is NaN, which is neither.
function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000
}
