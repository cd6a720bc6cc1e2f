import type * as engine from '@stathmos/engine'
import { loadPeer } from '../../peer.ts'

/** The engine as a module: an optional peer, loaded when a transport opens and not before. */
export type EnginePackage = typeof engine

/** @throws {SdkError} `peer_missing`, `peer_unusable`: with what to install */
export function loadEngine(): Promise<EnginePackage> {
  return loadPeer({
    name: '@stathmos/engine',
    what: 'embedded transports',
    load: (): Promise<EnginePackage> => import('@stathmos/engine'),
    needs: ['openEngine', 'lockDirectory', 'Draft', 'Credit', 'CorruptionError'],
  })
}
