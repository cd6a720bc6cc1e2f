import type * as engine from '@stathmos/engine'
import { SdkError } from '../../errors.ts'

/** The engine as a module: an optional peer, loaded when a transport opens and not before. */
export type EnginePackage = typeof engine

/** @throws {SdkError} `peer_missing` with what to install */
export async function loadEngine(): Promise<EnginePackage> {
  try {
    return await import('@stathmos/engine')
  } catch (cause) {
    const text = 'the embedded transport needs @stathmos/engine: npm install @stathmos/engine'
    throw new SdkError('peer_missing', text, { cause })
  }
}
