// Which peers are there to be measured beside: their packages are installed on demand, and Redis by the distribution.
import { existsSync, readFileSync } from 'node:fs'
import { redisVersion } from './redis.mjs'

const HERE = new URL('node_modules/', import.meta.url)

/** Name in the questions: package and what else it takes. */
const PEERS = {
  'pg-boss': 'pg-boss',
  'graphile-worker': 'graphile-worker',
  'graphile-worker-ordered': 'graphile-worker',
  'bullmq-always': 'bullmq',
  'bullmq-everysec': 'bullmq',
}

/** The versions of a peer, for the report; undefined when it is not installed. */
export function versionOf(peer) {
  const name = PEERS[peer]
  if (!existsSync(new URL(name, HERE))) return undefined
  const own = packageOf(name).version
  if (name !== 'bullmq') return own
  return redisVersion() === undefined ? undefined : `${own}, Redis ${redisVersion()}`
}

/** Why a peer is not measured. */
export function whyNot(peer) {
  return PEERS[peer] === 'bullmq'
    ? 'npm install --prefix bench/sdk/peers --no-package-lock; apt-get install redis-server'
    : 'npm install --prefix bench/sdk/peers --no-package-lock'
}

/** Imports a package of this folder. */
export function load(name) {
  const { main = 'index.js' } = packageOf(name)
  return import(new URL(`${name}/${main}`, HERE))
}

function packageOf(name) {
  return JSON.parse(readFileSync(new URL(`${name}/package.json`, HERE), 'utf8'))
}
