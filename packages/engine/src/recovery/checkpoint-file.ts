import { crc32 } from 'node:zlib'
import type { Definition } from '../topology/definition.ts'
import type { FileTable } from '../storage/file-table.ts'
import type { Files } from '../storage/files.ts'
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

const MAGIC = 'STMC'
/** Version of the on-disk format as a whole; a directory with a higher one is not touched. */
const FORMAT_VERSION = 1
const HEADER_BYTES = 16
const NAME = 'CHECKPOINT'
const CLEAN = 'CLEAN'

/** Reads the checkpoint; null when the directory has none. @throws CorruptionError */
export async function readCheckpoint(files: Files, directory: string): Promise<Checkpoint | null> {
  const path = `${directory}/${NAME}`
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
  if (Buffer.from(bytes.buffer, bytes.byteOffset, 4).toString('latin1') !== MAGIC) throw damaged('it is no checkpoint')
  const version = view.getUint32(4, true)
  if (version > FORMAT_VERSION) {
    throw new Error(`${path} has format ${version}, and this version of the broker knows up to ${FORMAT_VERSION}`)
  }
  if (version === 0) throw damaged('it has no version')
  const body = bytes.subarray(HEADER_BYTES)
  if (view.getUint32(8, true) !== body.length) throw damaged('its length is wrong')
  if (view.getUint32(12, true) !== crc32(body)) throw damaged('its checksum is wrong')
  return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')) as Checkpoint
}

/** Replaces the checkpoint; durable when this resolves, the old one until then. */
export async function writeCheckpoint(files: Files, directory: string, checkpoint: Checkpoint): Promise<void> {
  const body = Buffer.from(JSON.stringify(checkpoint), 'utf8')
  const header = Buffer.alloc(HEADER_BYTES)
  header.write(MAGIC, 'latin1')
  header.writeUInt32LE(FORMAT_VERSION, 4)
  header.writeUInt32LE(body.length, 8)
  header.writeUInt32LE(crc32(body), 12)
  const fresh = `${directory}/${NAME}.tmp`
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
    await file.sync()
  } finally {
    await file.close()
  }
  await files.rename(fresh, `${directory}/${NAME}`)
  await files.syncDirectory(directory)
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
