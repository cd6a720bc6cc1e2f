import { crc32 } from 'node:zlib'
import { getPosition, setPosition } from './frame.ts'

/**
 * The first page of every journal file, written and synced before the first frame and never again:
 * a page of its own, so that no later write can tear it. The base position is not in it, because the
 * file is made ahead of need; the first frame carries it. Little-endian:
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 8 | `STATHJNL` |
 * | 8 | 2 | version, 1 |
 * | 10 | 2 | kind: 0 journal, 1 rewritten |
 * | 12 | 4 | salt |
 * | 16 | 8 | floor: no frame of the file lies below, and everything below was on disk before |
 * | 24 | 4 | epoch |
 * | 28 | 4 | generation |
 * | 32 | 8 | number |
 * | 40 | 16 | incarnation |
 * | 4092 | 4 | CRC-32 of bytes 0–4091 |
 */
export const FILE_HEADER_BYTES = 4096

const MAGIC = new TextEncoder().encode('STATHJNL')
const VERSION = 1
const CRC_OFFSET = FILE_HEADER_BYTES - 4
const INCARNATION_BYTES = 16

export interface FileHeader {
  readonly number: number
  readonly generation: number
  readonly salt: number
  readonly floor: number
  readonly epoch: number
  /** 32 hexadecimal digits. */
  readonly incarnation: string
}

/** A new random incarnation is so many bytes. */
export function incarnationOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, INCARNATION_BYTES).toString('hex')
}

export function encodeFileHeader(header: FileHeader): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  bytes.set(MAGIC)
  view.setUint16(8, VERSION, true)
  view.setUint16(10, header.generation === 0 ? 0 : 1, true)
  view.setUint32(12, header.salt, true)
  setPosition(view, 16, header.floor)
  view.setUint32(24, header.epoch, true)
  view.setUint32(28, header.generation, true)
  setPosition(view, 32, header.number)
  bytes.set(Buffer.from(header.incarnation, 'hex'), 40)
  view.setUint32(CRC_OFFSET, crc32(bytes.subarray(0, CRC_OFFSET)), true)
  return bytes
}

/** The header, or what is wrong with it. */
export function decodeFileHeader(bytes: Uint8Array): FileHeader | string {
  if (bytes.length < FILE_HEADER_BYTES) return 'the file header is cut short'
  const view = new DataView(bytes.buffer, bytes.byteOffset, FILE_HEADER_BYTES)
  if (MAGIC.some((octet, i) => bytes[i] !== octet)) return 'this is no journal file'
  if (view.getUint32(CRC_OFFSET, true) !== crc32(bytes.subarray(0, CRC_OFFSET)))
    return 'the file header fails its check'
  const version = view.getUint16(8, true)
  if (version !== VERSION) return `format version ${version} is not one that this program reads`
  return {
    number: getPosition(view, 32),
    generation: view.getUint32(28, true),
    salt: view.getUint32(12, true),
    floor: getPosition(view, 16),
    epoch: view.getUint32(24, true),
    incarnation: incarnationOf(bytes.subarray(40, 40 + INCARNATION_BYTES)),
  }
}

/** At least so many digits, so that names sort as their numbers do for ever. */
const NUMBER_DIGITS = 10

/** `0000000017.jnl` as first written, `0000000017.2.jnl` after the second rewrite. */
export function journalFileName(number: number, generation: number): string {
  const digits = String(number).padStart(NUMBER_DIGITS, '0')
  return generation === 0 ? `${digits}.jnl` : `${digits}.${generation}.jnl`
}

export function parseJournalFileName(name: string): { number: number; generation: number } | null {
  const match = /^(\d{10,15})(?:\.(\d{1,9}))?\.jnl$/.exec(name)
  return match === null ? null : { number: Number(match[1]), generation: Number(match[2] ?? 0) }
}
