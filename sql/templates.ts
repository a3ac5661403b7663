import { ownCopy } from './bytes.js';
import { KeyedCache } from './keyed-cache.js';
import { sameSkeleton, spansLike } from './likeness.js';
import { type Skeleton, withOtherConstants } from './literals.js';
import { isOpaque } from './opaque.js';
import type { Rewrite } from './outcome.js';
import { sameRewrite, Template } from './template.js';

/** Skeletons that are remembered, and the memory that they may take, bytes. */
const ENTRIES = 5_000;
const BYTES = 32 << 20;
/** Memory of a constant's place, and of an edit. */
const CONSTANT_BYTES = 24;
const EDIT_BYTES = 400;

/** So many of those filled last are tried first. */
const RECENT = 2;

interface Recent {
  signature: string;
  skeleton: Skeleton;
  template: Template;
}

/** What is known of a skeleton: it was seen once, it has a template, or it can have none. */
type Known = 'once' | Template | 'none';

/**
 * The templates of a rule set. A skeleton gets one when it is seen for the second time, and only if
 * that is proved: the template is filled with constants that all differ, and with such as are all the same, and
 * what comes out has to be to the byte what the rewriter makes of these texts itself.
 */
export class Templates {
  private readonly skeletons = new KeyedCache<Skeleton, Known>(ENTRIES, BYTES, sameSkeleton);
  /** Those that were filled last: a load sends the like many times in a row. */
  private readonly recent: Recent[] = [];

  /** The same as `fill`, without a look at what the text is, if it is like one of those filled last. */
  again(signature: string, text: Buffer, isOwn = false): Rewrite | null {
    for (const recent of this.recent) {
      if (recent.signature !== signature) continue;
      const spans = spansLike(text, recent.skeleton);
      if (spans) return recent.template.fill(text, spans, isOwn);
    }
    return null;
  }

  /**
   * @param signature under which texts have one meaning.
   * @param isOwn whether nobody else writes to the text's memory, ever.
   * @returns null when the text has to be rewritten by itself.
   */
  fill(signature: string, skeleton: Skeleton, isOwn = false): Rewrite | null {
    const known = this.skeletons.get(skeleton.hash, signature, skeleton);
    if (!(known instanceof Template)) return null;
    const { recent } = this;
    const place = recent.findIndex(({ template }) => template === known);
    if (place >= 0) recent.splice(place, 1);
    else if (recent.length === RECENT) recent.pop();
    recent.unshift({ signature, skeleton: known.skeleton, template: known });
    return known.fill(skeleton.text, skeleton.spans, isOwn);
  }

  /**
   * @param rewrite what `make` made of the text.
   * @param make is given texts that it may keep.
   */
  learn(
    signature: string,
    skeleton: Skeleton,
    rewrite: Rewrite,
    make: (text: Buffer) => Rewrite,
  ): void {
    const { hash, text, kinds } = skeleton;
    const known = this.skeletons.get(hash, signature, skeleton);
    if (known === 'none' || isOpaque(rewrite.reason)) return;
    const kept = { ...skeleton, text: ownCopy(text) };
    const bytes = text.length + kinds.length * CONSTANT_BYTES;
    if (!known) {
      this.skeletons.set(hash, signature, kept, 'once', bytes);
      return;
    }
    const template = prove(kept, rewrite, make);
    const more = template ? rewrite.text.length + rewrite.edits.length * EDIT_BYTES : 0;
    this.skeletons.set(hash, signature, kept, template ?? 'none', bytes + more);
  }
}

function prove(
  skeleton: Skeleton,
  rewrite: Rewrite,
  make: (text: Buffer) => Rewrite,
): Template | null {
  const template = Template.of(skeleton, rewrite);
  if (!template) return null;
  for (const manner of ['unlike', 'alike'] as const) {
    const { text, spans } = withOtherConstants(skeleton, manner);
    if (!sameRewrite(template.fill(text, spans, true), make(text))) return null;
  }
  return template;
}
