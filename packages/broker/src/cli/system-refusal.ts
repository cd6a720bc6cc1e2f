/** The operating system says no: it names its call and its code, an operator wants the reason and the remedy. */
export interface SystemRefusal extends Error {
  readonly code: string
  readonly syscall: string
  readonly path?: string
  readonly port?: number
}

export function isRefusalOfSystem(error: Error): error is SystemRefusal {
  return 'syscall' in error && 'code' in error
}

/** Why a listener could not be opened, or undefined when the error is about something else. */
export function refusalToListen({ code, syscall, port }: SystemRefusal, host: string): string | undefined {
  if (syscall === 'getaddrinfo')
    return `the host ${host} has no address (${code}); give --host an address of this machine`
  if (syscall !== 'listen' && syscall !== 'bind') return undefined
  switch (code) {
    case 'EADDRNOTAVAIL':
      return `this machine has no address ${host} (${code}); give --host one that it has, or 127.0.0.1`
    case 'EACCES':
      return `this user may not listen on port ${port} (${code}); take a port from 1024 on, or --port-offset 10000`
    default:
      return undefined
  }
}

/** By the system's code, as far as an operator can do something about it. */
const DIRECTORY_REASONS: Readonly<Record<string, string>> = {
  EEXIST: 'a file is in the way',
  ENOTDIR: 'a file is in the way',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'its file system is read-only',
  ENOENT: 'its file system takes no directories there',
  ENOSPC: 'its disk is full',
}

/** Why nothing can be kept in the data directory, or undefined when the error is about something else. */
export function refusalOfDirectory({ code, path }: SystemRefusal, directory: string): string | undefined {
  const reason = DIRECTORY_REASONS[code]
  if (path === undefined || reason === undefined) return undefined
  return `the data directory ${directory} cannot be used: ${reason} (${code}, ${path}); choose another with --data-dir`
}
