import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface PortHolder {
  readonly pid: number
  /** The program's name as the kernel keeps it, at most 15 letters. */
  readonly name: string
}

/** State 0A of /proc/net/tcp: the socket listens. */
const LISTEN = '0A'

/**
 * The process that listens on a port of this machine, when it can be found out: on Linux, and for processes of the
 * same user or as root.
 */
export function portHolder(port: number): PortHolder | undefined {
  const inodes = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) => listeningInodes(table, port)))
  if (inodes.size === 0) return undefined
  for (const pid of entries('/proc').filter((each) => /^\d+$/.test(each))) {
    const holds = entries(`/proc/${pid}/fd`).some((descriptor) => {
      const inode = /^socket:\[(\d+)\]$/.exec(quietly(() => readlinkSync(`/proc/${pid}/fd/${descriptor}`), ''))?.[1]
      return inode !== undefined && inodes.has(inode)
    })
    if (holds)
      return { pid: Number(pid), name: quietly(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim(), 'unknown') }
  }
  return undefined
}

function listeningInodes(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return quietly(() => readFileSync(table, 'utf8'), '')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => state === LISTEN && local!.endsWith(suffix))
    .map((fields) => fields[9]!)
}

function entries(directory: string): string[] {
  return quietly(() => readdirSync(directory), [])
}

/** Processes come and go while one looks, and belong to others: what cannot be read is not there. */
function quietly<T>(look: () => T, otherwise: T): T {
  try {
    return look()
  } catch {
    return otherwise
  }
}
