//! What can be wrong within a sentence. Every message says what to do.

/// A fault of a sentence of a treebank; [`DataError::Treebank`](crate::DataError::Treebank) says
/// where it is. Ids are as in the file: words from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreebankFault {
    /// A line has another number of fields than ten.
    #[error(
        "{found} field{}, expected 10 separated by tabs; {}",
        if *found == 1 { "" } else { "s" },
        if *found == 1 {
            "if there are spaces between the fields, write tabs"
        } else {
            "check for a missing field, or for a tab within one"
        }
    )]
    FieldCount {
        /// Fields found.
        found: usize,
    },
    /// A line has tabs and nothing between them.
    #[error(
        "the line looks blank, but its tabs make it {found} fields, all empty; remove the tabs if the sentence \
         ends here, else write the word that is missing"
    )]
    BlankFields {
        /// Fields found.
        found: usize,
    },
    /// The first field is no id.
    #[error(
        "`{found}` is not an id; expected a word `k`, a multiword token `a-b` or an empty node \
         `k.d` (a comment begins with #)"
    )]
    BadId {
        /// The field, cut to 40 characters.
        found: String,
    },
    /// The ids of words do not count up from 1.
    #[error(
        "the word has id {found}, expected {expected}; {}",
        if *found == 1 {
            "a blank line must stand before a new sentence"
        } else {
            "the words of a sentence count up from 1 without a gap"
        }
    )]
    WordOrder {
        /// The id found.
        found: usize,
        /// The id expected.
        expected: usize,
    },
    /// A multiword token does not stand before its first word, or ends before it begins.
    #[error(
        "the multiword token {first}-{last} must stand just before its first word, and the next \
         word is {expected}; move or renumber it"
    )]
    RangeOrder {
        /// Id of its first word.
        first: usize,
        /// Id of its last word.
        last: usize,
        /// Id of the next word.
        expected: usize,
    },
    /// Two multiword tokens share a word.
    #[error(
        "the multiword token {first}-{last} overlaps the one before, which ends with word \
         {previous}; a word belongs to one surface token"
    )]
    RangeOverlap {
        /// Id of its first word.
        first: usize,
        /// Id of its last word.
        last: usize,
        /// Id of the last word of the one before.
        previous: usize,
    },
    /// A multiword token is longer than its sentence.
    #[error(
        "the multiword token {first}-{last} ends after the last word of the sentence, {words}; add \
         the missing words or correct the range"
    )]
    RangeEnd {
        /// Id of its first word.
        first: usize,
        /// Id of its last word.
        last: usize,
        /// How many words the sentence has.
        words: usize,
    },
    /// An empty node does not follow the word or the empty node it must follow.
    #[error(
        "the empty node {found} must be {expected} here; empty nodes after word k count k.1, k.2 \
         and so on"
    )]
    EmptyNodeOrder {
        /// The id found.
        found: String,
        /// The id expected.
        expected: String,
    },
    /// The FORM is empty.
    #[error("the FORM (field 2) is empty; write the word, or `_` for an underscore")]
    EmptyForm,
    /// The HEAD of a word is no number.
    #[error(
        "the HEAD (field 7) is `{found}`, expected 0 for the root or the id of a word; parse the \
         sentence first if it has no tree"
    )]
    BadHead {
        /// The field, cut to 40 characters.
        found: String,
    },
    /// The HEAD of a word is no word of the sentence.
    #[error(
        "word {id} has HEAD {head}, but the sentence has {words} words; correct the HEAD or add the \
         missing words"
    )]
    HeadOutOfRange {
        /// Id of the word.
        id: usize,
        /// Its HEAD.
        head: usize,
        /// How many words the sentence has.
        words: usize,
    },
    /// A word is its own head.
    #[error("word {id} is its own HEAD; give it another one, or 0 if it is the root")]
    OwnHead {
        /// Id of the word.
        id: usize,
    },
    /// The relation of a word is missing.
    #[error("word {id} has no relation (DEPREL, field 8); write it")]
    NoRelation {
        /// Id of the word.
        id: usize,
    },
    /// No word has HEAD 0.
    #[error("no word has HEAD 0, so this is not a tree; give the root HEAD 0")]
    NoRoot,
    /// Two words have HEAD 0.
    #[error(
        "words {first} and {second} both have HEAD 0, so this is not a tree; attach one to the \
         other, or divide the sentence"
    )]
    SeveralRoots {
        /// Id of the first root.
        first: usize,
        /// Id of the second one.
        second: usize,
    },
    /// Words depend on each other in a circle.
    #[error(
        "the HEADs of words {} run in a circle, so this is not a tree; attach one of them to a word \
         outside",
        list(words)
    )]
    Cycle {
        /// Ids of the words of the circle, each followed by its head.
        words: Vec<usize>,
    },
    /// There are comments that announce a sentence, and no words.
    #[error("the sentence has no words; add them or remove its other lines")]
    NoWords,
    /// A comment that may occur once is there twice.
    #[error(
        "a second `# {key}` before the first word; remove one of them, or add the missing words \
         between them"
    )]
    TwoComments {
        /// `sent_id` or `text`.
        key: &'static str,
    },
    /// A sentence is longer than the reader's limit.
    #[error(
        "the sentence that begins here is longer than {limit} bytes; a blank line must follow each \
         sentence, else raise the limit"
    )]
    SentenceTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A document is longer than the reader's limit.
    #[error(
        "the document that begins here is longer than {limit} bytes; divide the file with `# newdoc` \
         comments"
    )]
    DocumentTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The `# text` does not go on with the next token.
    #[error(
        "`# text` goes on with `{found}` after {characters} characters, expected the token `{form}`; \
         make them agree (where they look alike, one is not in Unicode normal form C)"
    )]
    TextMismatch {
        /// The token's form.
        form: String,
        /// What the text goes on with, cut to 40 characters.
        found: String,
        /// Characters of the text before that.
        characters: usize,
    },
    /// The `# text` holds more than the tokens.
    #[error("`# text` still has `{found}` after the last token; make text and tokens agree")]
    TextLeft {
        /// The rest of the text, cut to 40 characters.
        found: String,
    },
    /// The text must be put together, but the form of a multiword token is not given.
    #[error(
        "the sentence has no `# text`, and the multiword token {first}-{last} has no form; write \
         one of them"
    )]
    NoSurfaceForm {
        /// Id of its first word.
        first: usize,
        /// Id of its last word.
        last: usize,
    },
    /// `# global.Entity` cannot be used.
    #[error(
        "`# global.Entity = {declared}` {reason}; expected names joined by `-`, such as \
         eid-etype-head-other"
    )]
    EntityLayout {
        /// The declaration.
        declared: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An `Entity=` value is not a row of brackets.
    #[error(
        "`Entity={value}` cannot be read at `{rest}`; expected `(entity-...` to open a mention, \
         `entity)` to close it and `(entity-...)` for a mention of one word"
    )]
    EntityBrackets {
        /// The value, cut to 40 characters.
        value: String,
        /// The part that cannot be read, cut to 40 characters.
        rest: String,
    },
    /// An opening bracket has more fields than were declared.
    #[error(
        "the mention `({opening}` has more fields than `# global.Entity` declares ({declared}); \
         declare the layout of this file"
    )]
    EntityFields {
        /// The opening, cut to 40 characters.
        opening: String,
        /// The layout in force.
        declared: String,
    },
    /// The head of a mention is not one of its nodes.
    #[error(
        "the mention of `{entity}` has head `{found}`, expected a number from 1 to {nodes} (its \
         words and empty nodes)"
    )]
    MentionHead {
        /// The entity.
        entity: String,
        /// The head field, cut to 40 characters.
        found: String,
        /// How many nodes the mention has.
        nodes: usize,
    },
    /// The `[part/parts]` of a discontinuous mention is malformed.
    #[error(
        "`{found}` does not name a part of a discontinuous mention; expected the entity with \
         [1/2], [2/2] and so on"
    )]
    MentionPart {
        /// The entity with its part, cut to 40 characters.
        found: String,
    },
    /// A mention is not closed in its sentence.
    #[error(
        "the mention of `{entity}` that opens here is not closed before its sentence ends; a \
         mention lies within one sentence, so add `{entity})`"
    )]
    MentionOpen {
        /// The entity.
        entity: String,
    },
    /// A mention is closed that was not opened.
    #[error(
        "`{entity})` closes a mention that was not opened in this sentence; add `({entity}-...` or \
         remove it"
    )]
    MentionNotOpen {
        /// The entity.
        entity: String,
    },
    /// A mention is closed by all that stood behind its opening bracket, where the layout in force takes only a part
    /// of that for the entity.
    #[error(
        "`{opening})` closes the mention that `({opening}` opens, but that was read as a mention of \
         `{entity}`, since {}; where the brackets hold nothing but the entity's name, put the line \
         `# global.Entity = eid` on top of the file",
        match declared {
            Some(declared) => format!("`# global.Entity = {declared}` says so"),
            None => "the file declares no `# global.Entity`, and CorefUD's layout has the entity up to the \
                     first hyphen".into(),
        }
    )]
    MentionNamedWhole {
        /// What the brackets hold.
        opening: String,
        /// The part that was read as the entity.
        entity: String,
        /// The layout that the file declares.
        declared: Option<String>,
    },
    /// A multiword token has an `Entity=`.
    #[error(
        "the multiword token {first}-{last} has an Entity; mentions are made of words, so move it \
         to them"
    )]
    EntityOnRange {
        /// Id of its first word.
        first: usize,
        /// Id of its last word.
        last: usize,
    },
}

/// So many characters of a wrong value are quoted.
const QUOTED: usize = 40;

/// The beginning of a value, for a message.
pub(super) fn quote(value: &str) -> String {
    value.chars().take(QUOTED).collect()
}

/// At most this many words of a circle are spelled out.
const MAX_LISTED: usize = 20;

fn list(words: &[usize]) -> String {
    let mut listed: Vec<String> = words
        .iter()
        .take(MAX_LISTED)
        .map(ToString::to_string)
        .collect();
    if words.len() > MAX_LISTED {
        listed.push(format!("{} more", words.len() - MAX_LISTED));
    }
    listed.join(", ")
}
