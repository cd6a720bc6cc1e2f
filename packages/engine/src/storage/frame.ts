import { crc32 } from 'node:zlib'

/**
 * The frame, unit of writing and of checking. Little-endian:
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 4 | magic `STMF` |
 * | 4 | 1 | version, 1 |
 * | 5 | 1 | kind: 0 records, 1 copied records |
 * | 6 | 2 | 0 |
 * | 8 | 4 | length in bytes, this header included |
 * | 12 | 4 | CRC-32 of bytes 0–11 and 16–31, started with the file's salt |
 * | 16 | 8 | position |
 * | 24 | 4 | epoch |
 * | 28 | 4 | CRC-32 of the records, bytes 32–end |
 *
 * The records have a checksum of their own, so that it can be taken while they are appended and still in the
 * processor's cache, before length and salt are known.
 */
export const FRAME_HEADER_BYTES = 32

/** `STMF`, read little-endian. */
export const FRAME_MAGIC = 0x464d5453

/** A length field beyond it is damage: no frame gets near. */
export const FRAME_BYTES_MAX = 1024 * 1024 * 1024

const VERSION = 1
const CRC_OFFSET = 12
const AFTER_CRC = 16
const RECORDS_CRC_OFFSET = 28

/** What a frame holds: records as they were written, or copies with an index of their old positions. */
export const FRAME_RECORDS = 0
export const FRAME_COPIES = 1

export interface FrameStamp {
  readonly kind: number
  readonly position: number
  readonly epoch: number
  /** The file's. A frame from another file fails its check: CRC-32 maps different starts to different ends. */
  readonly salt: number
}

/**
 * Fills in the header at the start of `pieces[0]`. The pieces are the whole frame.
 * @param recordsCrc the CRC-32 of everything behind the header, where the caller has it
 */
export function sealFrame(
  pieces: readonly Uint8Array[],
  length: number,
  stamp: FrameStamp,
  recordsCrc: number = crcOfRecords(pieces),
): void {
  const head = pieces[0]!
  const view = new DataView(head.buffer, head.byteOffset, FRAME_HEADER_BYTES)
  view.setUint32(0, FRAME_MAGIC, true)
  view.setUint8(4, VERSION)
  view.setUint8(5, stamp.kind)
  view.setUint16(6, 0, true)
  view.setUint32(8, length, true)
  setPosition(view, 16, stamp.position)
  view.setUint32(24, stamp.epoch, true)
  view.setUint32(RECORDS_CRC_OFFSET, recordsCrc, true)
  view.setUint32(CRC_OFFSET, headerCrc(head, 0, stamp.salt), true)
}

/**
 * The length that a frame at `offset` claims, or 0 when no frame can begin there. At least
 * `FRAME_HEADER_BYTES` must follow `offset`; the frame itself may reach beyond the view.
 */
export function frameLength(view: DataView, offset: number): number {
  if (view.getUint32(offset, true) !== FRAME_MAGIC || view.getUint8(offset + 4) !== VERSION) return 0
  const length = view.getUint32(offset + 8, true)
  return length > FRAME_HEADER_BYTES && length <= FRAME_BYTES_MAX ? length : 0
}

/** Whether the `length` bytes at `offset` are a frame of the file with this salt, unharmed. */
export function frameIntact(bytes: Uint8Array, view: DataView, offset: number, length: number, salt: number): boolean {
  if (headerCrc(bytes, offset, salt) !== view.getUint32(offset + CRC_OFFSET, true)) return false
  const records = crc32(bytes.subarray(offset + FRAME_HEADER_BYTES, offset + length))
  return records === view.getUint32(offset + RECORDS_CRC_OFFSET, true)
}

function crcOfRecords(pieces: readonly Uint8Array[]): number {
  let crc = crc32(pieces[0]!.subarray(FRAME_HEADER_BYTES))
  for (let i = 1; i < pieces.length; i++) crc = crc32(pieces[i]!, crc)
  return crc
}

function headerCrc(bytes: Uint8Array, offset: number, salt: number): number {
  const crc = crc32(bytes.subarray(offset, offset + CRC_OFFSET), salt)
  return crc32(bytes.subarray(offset + AFTER_CRC, offset + FRAME_HEADER_BYTES), crc)
}

export function frameKind(view: DataView, offset: number): number {
  return view.getUint8(offset + 5)
}

export function framePosition(view: DataView, offset: number): number {
  return getPosition(view, offset + 16)
}

export function frameEpoch(view: DataView, offset: number): number {
  return view.getUint32(offset + 24, true)
}

/** Positions are safe integers: 8 bytes on disk without the cost of a bigint. */
export function setPosition(view: DataView, offset: number, position: number): void {
  view.setUint32(offset, position >>> 0, true)
  view.setUint32(offset + 4, Math.floor(position / 2 ** 32), true)
}

export function getPosition(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true)
}
