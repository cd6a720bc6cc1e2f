import type { Draft } from '../port.ts'

/** What a row without body and metadata takes, as JSON: names and numbers. */
export const NAMES_BYTES = 1024

/** Bytes of a message in a statement, rather too many than too few. */
export function bytesOfMessage({ body, metadata }: Pick<Draft, 'body' | 'metadata'>): number {
  return NAMES_BYTES + body.byteLength + 2 * JSON.stringify(metadata).length
}

/** The items in their order, in portions that have so many bytes at most; one that has more is alone. */
export function portionsOf<Item>(
  items: readonly Item[],
  bytesMax: number,
  bytesOf: (item: Item) => number,
): readonly (readonly Item[])[] {
  const portions: Item[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const item of items) {
    const more = bytesOf(item)
    if (bytes + more <= bytesMax) portions.at(-1)!.push(item)
    else {
      portions.push([item])
      bytes = 0
    }
    bytes += more
  }
  return portions
}
