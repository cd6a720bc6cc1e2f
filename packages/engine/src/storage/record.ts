/**
 * The records inside a frame (FORMAT.md, "Records"). Little-endian; every record begins with
 * `type u8 | flags u8 | small u16 | length u32`, where `length` counts the whole record.
 */

/** A message with its body and the places it was routed to. */
export const RECORD_MESSAGE = 1
/** Entries of a line that are settled: they never come back. */
export const RECORD_SETTLE = 2
/** An entry that was given back, with the attempts it has behind it. */
export const RECORD_RELEASE = 3
/** A change of the topology or of access, as JSON. */
export const RECORD_DEFINITION = 4
/** A stored message gets a further place: scheduled, or due. */
export const RECORD_PLACE = 5

export const RECORD_HEADER_BYTES = 8
export const MESSAGE_HEADER_BYTES = 48
/** A place in a message record: line id u32, low 32 bits of the entry's sequence number u32. */
export const PLACE_BYTES = 8
export const SETTLE_BYTES = 28
export const RELEASE_BYTES = 20
export const PLACE_RECORD_BYTES = 56

/** Message flag: survives a restart. */
export const FLAG_PERSISTENT = 1

// Offsets in a message record.
export const MESSAGE_FLAGS = 1
export const MESSAGE_ORIGIN_KIND = 2
export const MESSAGE_PRIORITY = 3
export const RECORD_LENGTH = 4
export const MESSAGE_TIMESTAMP = 8
export const MESSAGE_EXPIRES = 16
export const MESSAGE_BODY_LENGTH = 24
export const MESSAGE_ORIGIN_LENGTH = 28
export const MESSAGE_ADDRESS_LENGTH = 32
export const MESSAGE_PLACES = 36
export const MESSAGE_EXTENSION_LENGTH = 40
/** Id of the sender's message within its producer, reserved; 0 in format 1. */
export const MESSAGE_RESERVED = 44
