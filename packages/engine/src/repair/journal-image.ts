import { decodeFileHeader, FILE_HEADER_BYTES, journalFileName, parseJournalFileName } from '../storage/file-header.ts'
import type { FileHeader } from '../storage/file-header.ts'
import type { FileRow, FileTable } from '../storage/file-table.ts'
import type { Files } from '../storage/files.ts'
import {
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  frameIntact,
  frameKind,
  frameLength,
  framePosition,
} from '../storage/frame.ts'

/** Something in the files that is not as it was written. */
export interface Problem {
  readonly file: string
  readonly offset: number
  readonly what: string
}

/** A frame that is whole. */
export interface SoundFrame {
  readonly path: string
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Offset of the frame in {@link bytes}, which are the whole file. */
  readonly at: number
  readonly length: number
  readonly position: number
  readonly kind: number
}

/** What can be told about the journal files besides their frames. */
export interface JournalImage {
  readonly problems: readonly Problem[]
  /** A frame that was being written when the broker died; no problem. */
  readonly torn: Problem | null
  readonly files: number
  /** Position after the last frame, as far as anything tells. */
  readonly end: number
  readonly epochMax: number
  readonly numberMax: number
  readonly incarnation: string | null
}

interface FoundFile {
  readonly name: string
  readonly path: string
  readonly number: number
  readonly generation: number
  readonly row: FileRow | undefined
  readonly bytes: Uint8Array
  readonly header: FileHeader | string
}

const MAGIC = Buffer.alloc(4)
MAGIC.writeUInt32LE(FRAME_MAGIC)

/** Reads every journal file and shows every frame that is whole, by ascending position, past all damage. */
export async function readJournal(
  files: Files,
  directory: string,
  table: FileTable | null,
  visit: (frame: SoundFrame) => void,
): Promise<JournalImage> {
  const problems: Problem[] = []
  const names = (await files.list(directory)).flatMap((name) => {
    const parsed = parseJournalFileName(name)
    return parsed === null ? [] : [{ name, ...parsed }]
  })
  const rows = new Map(table?.files.map((row) => [journalFileName(row.number, row.generation), row]))
  for (const name of rows.keys()) {
    if (names.some((found) => found.name === name)) continue
    problems.push({ file: `${directory}/${name}`, offset: 0, what: 'the file is missing' })
  }
  const counted = names
    .filter(({ name, number }) => rows.has(name) || table === null || number > table.current)
    .sort((a, b) => (rows.get(a.name)?.base ?? Infinity) - (rows.get(b.name)?.base ?? Infinity) || a.number - b.number)
  const sizes = await Promise.all(counted.map(({ name }) => sizeOf(files, `${directory}/${name}`)))
  const last = counted.findLast(({ generation }, i) => generation === 0 && sizes[i]! > FILE_HEADER_BYTES)
  const image = { end: table?.end ?? 0, epochMax: table?.epoch ?? 0, numberMax: table?.current ?? 0 }
  let incarnation = table?.incarnation ?? null
  let torn: Problem | null = null
  let reached = table?.end ?? 0
  for (const found of counted) {
    const path = `${directory}/${found.name}`
    const bytes = await files.read(path)
    const header = decodeFileHeader(bytes)
    const file: FoundFile = { ...found, path, row: rows.get(found.name), bytes, header }
    image.numberMax = Math.max(image.numberMax, found.number)
    const isEmpty = file.row === undefined && bytes.length <= FILE_HEADER_BYTES
    if (typeof header !== 'string') {
      image.epochMax = Math.max(image.epochMax, header.epoch)
      image.end = Math.max(image.end, header.floor)
      incarnation ??= header.incarnation
    }
    if (isEmpty) continue
    for (const what of wrongHeader(file, incarnation, table)) problems.push({ file: path, offset: 0, what })
    const walked = walk(file, found === last, (frame) => {
      const isNext = file.row === undefined && file.generation === 0
      if (isNext && frame.position > reached) {
        const what = `the journal goes on at position ${frame.position}, but ended at ${reached} before`
        problems.push({ file: path, offset: frame.at, what })
      }
      if (file.generation === 0) reached = Math.max(reached, frame.position + frame.length)
      visit(frame)
    })
    problems.push(...walked.problems)
    torn ??= walked.torn
  }
  if (reached < image.end) {
    const what = `the journal ends at position ${reached}, but it reached ${image.end}`
    const place = last === undefined ? directory : `${directory}/${last.name}`
    problems.push({ file: place, offset: 0, what })
  }
  return { ...image, end: Math.max(image.end, reached), problems, torn, files: counted.length, incarnation }
}

async function sizeOf(files: Files, path: string): Promise<number> {
  const file = await files.open(path, 'read')
  try {
    return await file.size()
  } finally {
    await file.close()
  }
}

function* wrongHeader(file: FoundFile, incarnation: string | null, table: FileTable | null): Iterable<string> {
  const { header, row, bytes } = file
  if (typeof header === 'string') yield header
  else {
    if (header.number !== file.number || header.generation !== file.generation) {
      yield 'the file carries the name of another'
    }
    if (header.incarnation !== incarnation) yield 'the file belongs to another data directory'
    if (row !== undefined && header.salt !== row.salt) yield 'this is not the file that the checkpoint lists'
  }
  if (row !== undefined && bytes.length < row.size)
    yield `the file is cut short at ${bytes.length} of ${row.size} bytes`
  if (file.generation > 0 && table === null) yield 'this rewritten file has lost its checkpoint'
}

/** Shows the frames of one file. */
function walk(
  file: FoundFile,
  isLast: boolean,
  visit: (frame: SoundFrame) => void,
): { problems: Problem[]; torn: Problem | null } {
  const { path, bytes, row, header } = file
  const problems: Problem[] = []
  const salt = typeof header === 'string' ? row?.salt : header.salt
  if (salt === undefined) return { problems, torn: null }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let base = file.generation === 0 ? (row?.base ?? -1) : -1
  for (let at = FILE_HEADER_BYTES; at < bytes.length;) {
    const length = soundAt(bytes, view, at, salt, base)
    if (length > 0) {
      const position = framePosition(view, at)
      if (base === -1 && file.generation === 0) base = position - (at - FILE_HEADER_BYTES)
      visit({ path, bytes, view, at, length, position, kind: frameKind(view, at) })
      at += length
      continue
    }
    const next = nextSound(bytes, view, at + 1, salt, base)
    const bad = (next === -1 ? bytes.length : next) - at
    const problem = { file: path, offset: at, what: `${bad} bytes are no valid frame` }
    const mayBeTorn = isLast && next === -1 && (row === undefined || at >= row.size)
    if (mayBeTorn) return { problems, torn: problem }
    problems.push(problem)
    if (next === -1) break
    at = next
  }
  return { problems, torn: null }
}

/** The length of the whole frame there, or 0. */
function soundAt(bytes: Uint8Array, view: DataView, at: number, salt: number, base: number): number {
  if (at + FRAME_HEADER_BYTES > bytes.length) return 0
  const length = frameLength(view, at)
  if (length === 0 || at + length > bytes.length || !frameIntact(bytes, view, at, length, salt)) return 0
  return base === -1 || framePosition(view, at) === base + at - FILE_HEADER_BYTES ? length : 0
}

function nextSound(bytes: Uint8Array, view: DataView, from: number, salt: number, base: number): number {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = buffer.indexOf(MAGIC, from); at !== -1; at = buffer.indexOf(MAGIC, at + 1)) {
    if (soundAt(bytes, view, at, salt, base) > 0) return at
  }
  return -1
}
