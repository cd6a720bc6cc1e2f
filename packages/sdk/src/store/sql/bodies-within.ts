import { numberIn, textIn } from './row.ts'
import type { SqlRow } from './driver.ts'

/** How many of the first of these sizes fit into so many bytes together: at least one, where there is one. */
export function countWithin(sizes: readonly number[], bytesMax: number): number {
  let bytes = 0
  let count = 0
  for (const size of sizes) {
    bytes += size
    if (bytes > bytesMax && count > 0) break
    count++
  }
  return count
}

/**
 * The first of the rows whose bodies fit into so many bytes together, at least one, with the bodies that were too large to
 * be read at first. A row that is gone meanwhile is left out.
 *
 * @param rows with `id`, `body_bytes`, and a `body` that is null where it was not read
 * @param read the `id` and `body` of rows, by their ids
 */
export async function bodiesWithin(
  rows: readonly SqlRow[],
  bytesMax: number,
  read: (ids: readonly string[]) => Promise<readonly SqlRow[]>,
): Promise<readonly SqlRow[]> {
  const sizes = rows.map((row) => numberIn(row, 'body_bytes'))
  const count = countWithin(sizes, bytesMax)
  const fitting = count === rows.length ? rows : rows.slice(0, count)
  const isUnread = (row: SqlRow): boolean => row['body'] === null && numberIn(row, 'body_bytes') > 0
  const unread = fitting.filter(isUnread)
  if (unread.length === 0) return fitting
  const found = await read(unread.map((row) => textIn(row, 'id')))
  const bodies = new Map(found.map((row) => [textIn(row, 'id'), row['body'] ?? null]))
  return fitting
    .map((row) => (isUnread(row) ? { ...row, body: bodies.get(textIn(row, 'id')) ?? null } : row))
    .filter((row) => !isUnread(row))
}
