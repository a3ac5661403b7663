import t from 'tap';
import * as K from '../../proxy/kinds.js';
import * as L from '../../proxy/ledger.js';

const KINDS: Record<string, K.Kind> = {
  P: K.PARSE,
  B: K.BIND,
  D: K.DESCRIBE_PORTAL,
  T: K.DESCRIBE_STATEMENT,
  E: K.EXECUTE,
  C: K.CLOSE,
  Q: K.QUERY,
  F: K.FUNCTION_CALL,
  S: K.SYNC,
  c: K.COPY_END,
};

/** A ledger driven by letters: `p` pushes, lower-case prefix `-` for a message of ours. */
function script(): {
  ledger: L.Ledger<string>;
  log: string[];
  push(letters: string): void;
  reply(letters: string, status?: number): string;
} {
  const log: string[] = [];
  const ledger = new L.Ledger<string>({
    answered: (_kind, side) => void log.push(`answered ${side}`),
    failed: (_kind, side) => void log.push(`failed ${side}`),
    dropped: (_kind, side) => void log.push(`dropped ${side}`),
  });
  const seen = new Map<string, number>();
  return {
    ledger,
    log,
    push(letters) {
      for (const word of letters.match(/-?[A-Za-z]/g) ?? []) {
        const own = word.startsWith('-');
        const letter = word.at(-1)!;
        const n = (seen.get(letter) ?? 0) + 1;
        seen.set(letter, n);
        ledger.push(KINDS[letter]!, own ? L.SWALLOW : L.FORWARD, `${word}${n}`);
      }
    },
    /** For each reply: `f`orward, `s`wallow, `!` mismatch. */
    reply(letters, status = L.IDLE) {
      return [...letters].map((c) => 'fs!'[ledger.reply(c.charCodeAt(0), status)]).join('');
    },
  };
}

t.test('a simple Query has any number of results and one ReadyForQuery', async (t) => {
  const s = script();
  s.push('QQ');
  t.equal(s.reply('TDDCTDCCIZ'), 'ffffffffff');
  t.equal(s.ledger.pending, 1);
  t.equal(s.reply('EZ'), 'ff', 'an error ends it, and drops nothing');
  t.equal(s.ledger.pending, 0);
  t.same(s.log, ['answered Q1', 'failed Q2', 'answered Q2']);
});

t.test(
  'an error in an extended message drops all that follows, simple Query too, to Sync',
  async (t) => {
    const s = script();
    s.push('PBQEFSQ');
    t.equal(s.reply('1E'), 'ff');
    t.same(s.log, ['answered P1', 'failed B1', 'dropped Q1', 'dropped E1', 'dropped F1']);
    t.equal(s.reply('ZCZ'), 'fff', 'then Sync and the second Query are answered');
    t.equal(s.ledger.pending, 0);
    t.equal(s.ledger.batchesInFlight, 0);
  },
);

t.test('an error before Sync was sent drops what is sent until then', async (t) => {
  const s = script();
  s.push('PB');
  t.equal(s.reply('E'), 'f');
  t.equal(s.ledger.skipping, true);
  s.push('EQ');
  t.equal(s.ledger.pending, 0);
  s.push('SQ');
  t.equal(s.ledger.skipping, false);
  t.equal(s.reply('ZCZ'), 'fff');
  t.same(s.log.slice(0, 4), ['failed P1', 'dropped B1', 'dropped E1', 'dropped Q1']);
});

t.test('swallows the replies to messages of ours, by position, but not an error', async (t) => {
  const s = script();
  s.push('-C-P B E S');
  t.equal(s.reply('312DDCZ'), 'ssfffff');
  s.push('-C-P B E S');
  t.equal(s.reply('3E'), 'sf', 'the client sees why its Bind failed');
  t.equal(s.reply('Z'), 'f');
  s.push('-P-B-E-S Q');
  t.equal(s.reply('12DCZ'), 'sssss');
  t.equal(s.reply('CZ'), 'ff');
});

t.test(
  'notices during a message of ours are ours; notifications and parameters never are',
  async (t) => {
    const s = script();
    s.push('-P');
    t.equal(s.reply('NAS'), 'sff');
    t.equal(s.ledger.pending, 1);
  },
);

t.test('asynchronous messages may come at any time, also when nothing is pending', async (t) => {
  const s = script();
  t.equal(s.reply('NASE'), 'ffff');
});

t.test('what cannot be the answer is a mismatch', async (t) => {
  for (const [sent, replies] of [
    ['', 'Z'],
    ['', '1'],
    ['P', '2'],
    ['B', '1'],
    ['S', 'C'],
    ['Q', 'Z'],
    ['Q', '1'],
    ['Q', 's'],
    ['E', 'T'],
    ['D', 't'],
    ['F', 'C'],
    ['P', 'Z'],
    ['Q', 'K'],
  ] as const) {
    const s = script();
    s.push(sent);
    t.equal(s.reply(replies), '!', `${replies} to ${sent || 'nothing'}`);
  }
});

t.test(
  'Describe of a statement has two answers, of a portal one; either may be NoData',
  async (t) => {
    const s = script();
    s.push('TTDDS');
    t.equal(s.reply('tTtnTnZ'), 'fffffff');
  },
);

t.test('PortalSuspended and EmptyQueryResponse end an Execute', async (t) => {
  const s = script();
  s.push('EEES');
  t.equal(s.reply('DsDCIZ'), 'ffffff');
  t.equal(s.ledger.pending, 0);
});

t.test(
  'a FunctionCall has its result and a ReadyForQuery, or an error and a ReadyForQuery',
  async (t) => {
    const s = script();
    s.push('FF');
    t.equal(s.reply('VZEZ'), 'ffff');
    t.equal(s.ledger.pending, 0);
  },
);

t.test(
  'COPY FROM STDIN consumes the Syncs before its end, sent before or after it began',
  async (t) => {
    const before = script();
    before.push('PBEScS');
    t.equal(before.reply('12G'), 'fff');
    t.equal(before.reply('CZ'), 'ff');
    t.equal(before.ledger.pending, 0, 'one Sync is answered, not two');
    const after = script();
    after.push('PBE');
    t.equal(after.reply('12G'), 'fff');
    t.equal(after.ledger.copyOpen, true);
    after.push('SS');
    t.equal(after.ledger.openBatch, true);
    after.push('cS');
    t.equal(after.reply('CZ'), 'ff');
    t.equal(after.ledger.pending, 0);
  },
);

t.test(
  'an error during COPY drops to the Sync after it; a late CopyDone has no answer',
  async (t) => {
    const s = script();
    s.push('PBE');
    t.equal(s.reply('12GE'), 'ffff');
    s.push('cS');
    t.equal(s.reply('Z'), 'f');
    t.equal(s.ledger.pending, 0);
    s.push('Q');
    t.equal(s.reply('GE'), 'ff');
    t.equal(s.reply('Z'), 'f', 'in a simple Query nothing is dropped');
    s.push('cQ');
    t.equal(s.reply('CZ'), 'ff');
  },
);

t.test('a COPY that fails before it has read leaves its Sync to be answered', async (t) => {
  const s = script();
  s.push('PBES');
  t.equal(s.reply('12GE'), 'ffff', 'a BEFORE STATEMENT trigger, say');
  t.equal(s.reply('Z'), 'f', 'the Sync that COPY would have consumed');
  s.push('cS');
  t.equal(s.reply('Z'), 'f');
  t.equal(s.reply('Z'), '!');
});

t.test('what follows a COPY that has read a Sync is only known from answers', async (t) => {
  const early = script();
  early.push('PBESc');
  t.equal(early.ledger.isUnsure, true, 'it may be a COPY');
  t.equal(early.reply('12GE'), 'ffff');
  t.equal(early.ledger.isUnsure, true);
  t.equal(early.reply('Z'), 'f', 'it had not read the Sync');
  t.equal(early.ledger.isUnsure, false);
  t.equal(early.ledger.unentered, 1);
  t.equal(early.ledger.lastReady, early.ledger.pushed);
  const late = script();
  late.push('PBE');
  late.reply('12G');
  late.push('Sc');
  t.equal(late.ledger.isUnsure, true);
  late.reply('E');
  late.push('S');
  t.equal(late.ledger.isUnsure, false, 'behind a Sync it is known');
  t.equal(late.reply('Z'), 'f');
  for (const [sent, replies] of [
    ['PBESc', '12GC'],
    ['PBESc', '12DC'],
    ['PBESc', '12E'],
    ['PBEcS', '12GE'],
    ['QSc', 'GE'],
    ['PBEScS', '12GE'],
  ] as const) {
    const s = script();
    s.push(sent);
    s.reply(replies);
    t.equal(s.ledger.isUnsure, false, `${replies} to ${sent}`);
  }
});

t.test('a ReadyForQuery of a Sync within a COPY ends nothing that was sent later', async (t) => {
  const s = script();
  s.push('PBEScSP');
  t.equal(s.reply('12GEZZ'), 'ffffff');
  t.equal(s.ledger.openBatch, true, 'the last Parse has begun a batch');
  const late = script();
  late.push('PBEScSP');
  t.equal(late.reply('12GEZ1'), 'ffffff');
  t.equal(late.reply('Z'), '!', 'then the COPY had read it');
});

t.test('Syncs before what cannot be sent during COPY have not been read by it', async (t) => {
  const s = script();
  s.push('PBESPBES');
  t.equal(s.reply('12GE'), 'ffff');
  t.equal(s.reply('Z12CZ'), 'fffff');
  t.equal(s.ledger.pending, 0);
  t.equal(s.ledger.batchesInFlight, 0);
});

t.test('so it is with Syncs that are sent while the COPY goes on', async (t) => {
  for (const [sent, status] of [
    ['Q', '12GEZZCZ'],
    ['P', '12GEZZ1'],
  ] as const) {
    const s = script();
    s.push('PBES');
    t.equal(s.reply('12G'), 'fff');
    s.push(`S${sent}`);
    t.equal(s.reply(status.slice(3)), 'f'.repeat(status.length - 3), sent);
    t.equal(s.ledger.pending, 0);
    t.equal(s.ledger.batchesInFlight, 0);
    t.equal(s.ledger.openBatch, sent === 'P');
  }
});

t.test('two COPY in one simple Query each end with a CopyDone', async (t) => {
  const s = script();
  s.push('Qcc');
  t.equal(s.reply('GCGCZ'), 'fffff');
  t.equal(s.ledger.pending, 0);
});

t.test('it knows when a Sync would end nothing of the client', async (t) => {
  const s = script();
  t.equal(s.ledger.harmlessSync(L.IDLE, false), true);
  s.push('PT');
  s.reply('1tn');
  t.equal(s.ledger.harmlessSync(L.IDLE, false), true, 'it has only prepared');
  s.push('B');
  s.reply('2');
  t.equal(s.ledger.harmlessSync(L.IDLE, false), false, 'the portal would go');
  t.equal(s.ledger.harmlessSync(L.IDLE, true), true, 'a simple Query ends it as well');
  t.equal(s.ledger.harmlessSync(L.IN_TRANSACTION, false), true, 'it outlives a Sync there');
  s.push('E');
  s.reply('C');
  t.equal(s.ledger.harmlessSync(L.IDLE, true), false, 'it would be committed');
  t.equal(s.ledger.harmlessSync(L.IN_TRANSACTION, false), false);
  s.push('Q');
  s.reply('C');
  s.reply('Z', L.IN_TRANSACTION);
  t.equal(s.ledger.harmlessSync(L.IN_TRANSACTION, false), false, 'a Query does not end a pipeline');
  s.push('S');
  s.reply('Z');
  t.equal(s.ledger.harmlessSync(L.IDLE, false), true);
});

t.test('a Query after which no transaction is open has ended the batch', async (t) => {
  const s = script();
  s.push('PQ');
  t.equal(s.ledger.openBatch, true);
  s.reply('1CZ', L.IDLE);
  t.equal(s.ledger.openBatch, false);
  s.push('PQP');
  s.reply('1CZ', L.IDLE);
  t.equal(s.ledger.openBatch, true, 'the second Parse has begun another');
});

t.test('the ring grows under a long pipeline and keeps the order', async (t) => {
  const s = script();
  for (let i = 0; i < 1000; i++) s.push('PBES');
  for (let i = 0; i < 999; i++) t.equal(s.reply('12CZ'), 'ffff');
  s.push('PBES');
  t.equal(s.reply('12CZ12CZ'), 'ffffffff');
  t.equal(s.ledger.pending, 0);
  t.equal(s.log.length, 4004);
  t.equal(s.log.at(-1), 'answered S1001');
});

t.test('portals are known to be alive until their command or transaction has ended', async (t) => {
  const s = script();
  s.push('PBE');
  s.reply('12');
  t.equal(s.ledger.unnamedPortal, true);
  s.reply('s');
  t.equal(s.ledger.unnamedPortal, true, 'suspended');
  s.push('E');
  s.reply('C');
  t.equal(s.ledger.unnamedPortal, false);
  s.ledger.push(K.BIND, L.FORWARD, 'named', true);
  s.reply('2');
  s.push('S');
  s.reply('Z', L.IN_TRANSACTION);
  t.equal(s.ledger.namedPortal, true);
  s.push('Q');
  s.reply('CZ');
  t.equal(s.ledger.namedPortal, false);
});
