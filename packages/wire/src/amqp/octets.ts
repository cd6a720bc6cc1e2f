/**
 * The bytes of an annotated sample, for tests: hexadecimal digits in groups of any size, text in quotes,
 * and remarks in brackets, as in `0032000a [queue.declare] 06'orders'`.
 */
export function octets(sample: string): Uint8Array {
  const digits = sample.replaceAll(/'([^']*)'|\[[^\]]*\]|\s+/g, (_, text: string | undefined) =>
    text === undefined ? '' : Buffer.from(text, 'utf8').toString('hex'),
  )
  const bytes = Uint8Array.from(Buffer.from(digits, 'hex'))
  if (bytes.length * 2 !== digits.length) throw new Error(`not octets: ${sample}`)
  return bytes
}

/** A view of exactly the memory of `bytes`. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
