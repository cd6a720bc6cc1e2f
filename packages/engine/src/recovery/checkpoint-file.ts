import { crc32 } from 'node:zlib'
import type { Definition } from '../topology/definition.ts'
import type { FileTable } from '../storage/file-table.ts'
import type { Files } from '../storage/files.ts'
import { syncOr } from '../storage/journal-writer.ts'
import { CorruptionError } from '../storage/storage-errors.ts'

/** An index page in a checkpoint: everything but its columns. */
export interface PageRow {
  readonly base: number
  readonly count: number
  readonly live: number
  /** Of its live entries. */
  readonly bytes: number
  /** null: none */
  readonly earliest: number | null
  readonly low: number
  readonly high: number
  /** File, offset and length in the index. */
  readonly at: readonly [number, number, number]
  readonly holds: readonly number[]
  readonly transient?: true
}

export interface LineRow {
  readonly id: number
  readonly nextSeq: number
  readonly suspect: number
  readonly pages: readonly PageRow[]
}

/** The state at one position of the journal: recovery starts here. Plain JSON. */
export interface Checkpoint {
  /** Frames from here on are replayed. */
  readonly position: number
  readonly nextLine: number
  readonly table: FileTable
  readonly definitions: readonly Definition[]
  readonly lines: readonly LineRow[]
}

/**
 * What exists, as the checkpoint says it, in a file of its own: it is nowhere else, and a repair that finds no checkpoint
 * still finds this. As new as the checkpoint, or newer by the one that was being written.
 */
export interface StoredDefinitions {
  /** Changes recorded from here on come on top. */
  readonly position: number
  readonly definitions: readonly Definition[]
}

interface FileKind {
  readonly name: string
  readonly magic: string
}

const CHECKPOINT: FileKind = { name: 'CHECKPOINT', magic: 'STMC' }
const DEFINITIONS: FileKind = { name: 'DEFINITIONS', magic: 'STMD' }
/** Version of the on-disk format as a whole; a directory with a higher one is not touched. */
const FORMAT_VERSION = 1
const HEADER_BYTES = 16
const CLEAN = 'CLEAN'

/** The files that a checkpoint is in, in the order in which they are written. */
export const CHECKPOINT_NAMES: readonly string[] = [DEFINITIONS.name, CHECKPOINT.name]

/** Reads the checkpoint; null when the directory has none. @throws CorruptionError */
export async function readCheckpoint(files: Files, directory: string): Promise<Checkpoint | null> {
  return (await readFile(files, directory, CHECKPOINT)) as Checkpoint | null
}

/** Reads the definitions that lie beside the checkpoint; null when the directory has none. @throws CorruptionError */
export async function readDefinitions(files: Files, directory: string): Promise<StoredDefinitions | null> {
  return (await readFile(files, directory, DEFINITIONS)) as StoredDefinitions | null
}

/** Replaces the checkpoint; durable when this resolves, the old one until then. */
export async function writeCheckpoint(files: Files, directory: string, checkpoint: Checkpoint): Promise<void> {
  const { definitions, ...rest } = checkpoint
  const { position } = rest
  // There may be many, so that they are written out once for both files.
  const json = JSON.stringify(definitions)
  await replaceFile(files, directory, DEFINITIONS, `{"position":${position},"definitions":${json}}`)
  await replaceFile(files, directory, CHECKPOINT, `${JSON.stringify(rest).slice(0, -1)},"definitions":${json}}`)
}

async function readFile(files: Files, directory: string, { name, magic }: FileKind): Promise<unknown> {
  const path = `${directory}/${name}`
  let bytes: Uint8Array
  try {
    bytes = await files.read(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
  const damaged = (what: string): CorruptionError => new CorruptionError(what, { file: path, offset: 0 })
  if (bytes.length < HEADER_BYTES) throw damaged('it is too short')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (Buffer.from(bytes.buffer, bytes.byteOffset, 4).toString('latin1') !== magic) throw damaged(`it is no ${name}`)
  const version = view.getUint32(4, true)
  const body = bytes.subarray(HEADER_BYTES)
  const hasLength = view.getUint32(8, true) === body.length
  const isWhole = hasLength && view.getUint32(12, true) === crc32(body)
  // Only version 1 has the checksum of its body alone (FORMAT.md): rot in the number is no newer format.
  if (version !== FORMAT_VERSION && isWhole) throw damaged('its version is wrong')
  if (version > FORMAT_VERSION) {
    throw new Error(`${path} has format ${version}, and this version of the broker knows up to ${FORMAT_VERSION}`)
  }
  if (version === 0) throw damaged('it has no version')
  if (!hasLength) throw damaged('its length is wrong')
  if (!isWhole) throw damaged('its checksum is wrong')
  return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'))
}

/** Replaces a file; durable with its name when this resolves, the old one until then. */
async function replaceFile(files: Files, directory: string, { name, magic }: FileKind, json: string): Promise<void> {
  const body = Buffer.from(json, 'utf8')
  const header = Buffer.alloc(HEADER_BYTES)
  header.write(magic, 'latin1')
  header.writeUInt32LE(FORMAT_VERSION, 4)
  header.writeUInt32LE(body.length, 8)
  header.writeUInt32LE(crc32(body), 12)
  const fresh = `${directory}/${name}.tmp`
  await files.remove(fresh)
  const file = await files.open(fresh, 'create')
  try {
    const bytes = Buffer.concat([header, body])
    let at = 0
    while (at < bytes.length) {
      const written = await file.write([bytes.subarray(at)], at)
      if (written === 0) throw Object.assign(new Error(`no room for ${fresh}`), { code: 'ENOSPC' })
      at += written
    }
    await syncOr(() => file.sync(), fresh)
  } finally {
    await file.close()
  }
  await files.rename(fresh, `${directory}/${name}`)
  await syncOr(() => files.syncDirectory(directory), directory)
}

/** Notes that the broker stopped with nothing left to recover; {@link takeClean} ends that. */
export async function leaveClean(files: Files, directory: string): Promise<void> {
  await files.remove(`${directory}/${CLEAN}`)
  await (await files.open(`${directory}/${CLEAN}`, 'create')).close()
  await files.syncDirectory(directory)
}

/** Whether the last stop was clean. From now on a stop is unclean until {@link leaveClean} says otherwise. */
export async function takeClean(files: Files, directory: string): Promise<boolean> {
  const clean = (await files.list(directory)).includes(CLEAN)
  if (clean) {
    await files.remove(`${directory}/${CLEAN}`)
    await files.syncDirectory(directory)
  }
  return clean
}
