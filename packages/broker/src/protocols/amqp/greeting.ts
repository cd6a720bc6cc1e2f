import { encodeMethod, OutputBuffer } from '@stathmos/wire/amqp'

import { MECHANISMS } from './credentials.ts'
import type { AmqpOptions } from './options.ts'
import { serverProperties } from './server-properties.ts'

/** Room for the frame; a longer one makes the buffer grow. */
const FRAME_BYTES = 1024

/** The frame of connection.start. It is the same for every connection, and so encoded once. */
export function greeting(options: AmqpOptions): Uint8Array {
  const output = new OutputBuffer(FRAME_BYTES)
  encodeMethod(output, 0, {
    name: 'connection.start',
    versionMajor: 0,
    versionMinor: 9,
    serverProperties: serverProperties(options),
    mechanisms: MECHANISMS,
    locales: 'en_US',
  })
  return output.written()
}
