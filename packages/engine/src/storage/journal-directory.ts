import { decodeFileHeader, FILE_HEADER_BYTES, journalFileName, parseJournalFileName } from './file-header.ts'
import type { FileHeader } from './file-header.ts'
import type { FileRow, FileTable } from './file-table.ts'
import type { Files } from './files.ts'
import { CorruptionError } from './storage-errors.ts'

/** A journal file as it lies in the directory. */
export interface FoundFile {
  readonly number: number
  readonly generation: number
  readonly path: string
  readonly size: number
  readonly header: FileHeader
}

/** What the journal directory holds, sorted by what it means. */
export interface JournalDirectory {
  readonly listed: readonly { readonly row: FileRow; readonly found: FoundFile }[]
  /** Files that hold frames and were begun after the table was made, in order. */
  readonly newer: readonly FoundFile[]
  /** Paths that nothing needs: empty files, and files that a durable checkpoint has given up. */
  readonly dead: readonly string[]
  readonly incarnation: string | null
  readonly epochMax: number
  readonly numberMax: number
  /** So far at least the journal reached, whatever the frames say. */
  readonly floorMax: number
}

/** Files looked at side by side: each costs a few short calls. */
const INSPECT_AT_ONCE = 16

/**
 * Reads what is there, without changing anything. Only the table says what is dead: nothing is given
 * up because something else is missing.
 *
 * @throws {CorruptionError} when a file of the table is missing or is not what it was
 */
export async function inspectDirectory(
  files: Files,
  directory: string,
  table: FileTable | null,
): Promise<JournalDirectory> {
  const names = (await files.list(directory)).flatMap((name) => parseJournalFileName(name) ?? [])
  const rows = new Map(table?.files.map((row) => [journalFileName(row.number, row.generation), row]))
  const listed: { row: FileRow; found: FoundFile }[] = []
  const newer: FoundFile[] = []
  const dead: string[] = []
  const headers: FileHeader[] = []

  for (let first = 0; first < names.length; first += INSPECT_AT_ONCE) {
    const group = names.slice(first, first + INSPECT_AT_ONCE)
    const inspected = await Promise.all(group.map((name) => inspectFile(files, directory, name)))
    for (const file of inspected) {
      const row = rows.get(journalFileName(file.number, file.generation))
      rows.delete(journalFileName(file.number, file.generation))
      if (typeof file.header !== 'string') headers.push(file.header)
      if (row !== undefined) listed.push({ row, found: matching(file, row) })
      else if (table !== null && file.number <= table.current) dead.push(file.path)
      else if (file.size <= FILE_HEADER_BYTES) dead.push(file.path)
      else newer.push(readable(file))
    }
  }
  const missing = [...rows.keys()][0]
  if (missing !== undefined)
    throw new CorruptionError('the file is missing', { file: `${directory}/${missing}`, offset: 0 })

  const incarnation = table?.incarnation ?? headers[0]?.incarnation ?? null
  for (const file of [...listed.map(({ found }) => found), ...newer]) {
    if (file.header.incarnation === incarnation) continue
    throw new CorruptionError('the file belongs to another data directory', { file: file.path, offset: 0 })
  }
  return {
    listed: listed.toSorted((a, b) => a.row.base - b.row.base),
    newer: newer.toSorted((a, b) => a.number - b.number),
    dead,
    incarnation,
    epochMax: headers.reduce((max, header) => Math.max(max, header.epoch), table?.epoch ?? 0),
    numberMax: names.reduce((max, name) => Math.max(max, name.number), table?.current ?? 0),
    floorMax: headers.reduce((max, header) => Math.max(max, header.floor), table?.end ?? 0),
  }
}

type InspectedFile = Omit<FoundFile, 'header'> & { readonly header: FileHeader | string }

async function inspectFile(
  files: Files,
  directory: string,
  { number, generation }: { number: number; generation: number },
): Promise<InspectedFile> {
  const path = `${directory}/${journalFileName(number, generation)}`
  const file = await files.open(path, 'read')
  try {
    const bytes = new Uint8Array(FILE_HEADER_BYTES)
    const filled = await file.read(bytes, 0)
    const size = await file.size()
    const header = decodeFileHeader(bytes.subarray(0, filled))
    const misnamed = typeof header !== 'string' && (header.number !== number || header.generation !== generation)
    return { number, generation, path, size, header: misnamed ? 'the file carries the name of another' : header }
  } finally {
    await file.close()
  }
}

function readable(file: InspectedFile): FoundFile {
  if (typeof file.header === 'string') throw new CorruptionError(file.header, { file: file.path, offset: 0 })
  if (file.generation > 0) {
    const what = 'this rewritten file is in no checkpoint, and the checkpoint that lists it is missing'
    throw new CorruptionError(what, { file: file.path, offset: 0 })
  }
  return { ...file, header: file.header }
}

function matching(file: InspectedFile, row: FileRow): FoundFile {
  if (typeof file.header === 'string') throw new CorruptionError(file.header, { file: file.path, offset: 0 })
  if (file.header.salt !== row.salt) {
    throw new CorruptionError('this is not the file that the checkpoint lists', { file: file.path, offset: 0 })
  }
  if (file.size < row.size) throw new CorruptionError('the file is cut short', { file: file.path, offset: file.size })
  return { ...file, header: file.header }
}
