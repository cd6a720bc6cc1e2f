import { crc32 } from 'node:zlib'
import { decodePage, Page, PAGE_HEADER_BYTES, pageName } from '../line/page.ts'
import { indexFileName, PAGE_PREFIX_BYTES, parseIndexFileName } from '../line/page-store.ts'
import type { Files } from '../storage/files.ts'
import type { Problem } from './journal-image.ts'

/** What the index files tell without a checkpoint that says which of their pages count. */
export interface IndexImage {
  /** By line, the pages that are whole, in the order of their entries: of those with the same base the newest. */
  readonly lines: ReadonlyMap<number, readonly Page[]>
  readonly problems: readonly Problem[]
}

/**
 * Reads every page of every index file. A page may be older than the settlement of what it shows, and even one
 * of a line that is gone: who uses it must look whether the messages are still there.
 */
export async function readIndex(files: Files, directory: string): Promise<IndexImage> {
  const problems: Problem[] = []
  const newest = new Map<number, Map<number, Page>>()
  const numbers = (await files.list(directory)).flatMap((name) => parseIndexFileName(name) ?? [])
  for (const number of numbers.sort((a, b) => a - b)) {
    const path = `${directory}/${indexFileName(number)}`
    for (const { line, page } of pagesOf(path, await files.read(path), problems)) {
      const pages = newest.get(line) ?? new Map<number, Page>()
      newest.set(line, pages.set(page.base, page))
    }
  }
  const lines = new Map<number, Page[]>()
  for (const [line, pages] of newest) lines.set(line, withoutOverlap(pages.values()))
  return { lines, problems }
}

function* pagesOf(path: string, bytes: Uint8Array, problems: Problem[]): Iterable<{ line: number; page: Page }> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = 0; at < bytes.length;) {
    const start = at + PAGE_PREFIX_BYTES
    const length = start <= bytes.length ? view.getUint32(at, true) : 0
    if (length < PAGE_HEADER_BYTES || start + length > bytes.length) {
      problems.push({ file: path, offset: at, what: `${bytes.length - at} bytes are no index page` })
      return
    }
    const stored = bytes.subarray(start, start + length)
    if (view.getUint32(at + 4, true) === crc32(stored)) {
      const { line, base, count } = pageName(stored)
      const page = new Page(base)
      page.count = count
      decodePage(stored, page, line)
      for (let i = 0; i < count; i++) if (!page.isSettled(i)) page.live++
      yield { line, page }
    } else problems.push({ file: path, offset: at, what: 'an index page is damaged' })
    at = start + length
  }
}

/** Pages of one line never overlap, unless one of them is the rest of a checkpoint that was never finished. */
function withoutOverlap(pages: Iterable<Page>): Page[] {
  const kept: Page[] = []
  for (const page of [...pages].sort((a, b) => a.base - b.base)) {
    if (page.base >= (kept.at(-1)?.end ?? 0)) kept.push(page)
  }
  return kept
}
