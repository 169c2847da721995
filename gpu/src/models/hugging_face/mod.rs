//! Hugging Face's side of a model: `config.json` read and written.

mod keys;
mod read;
mod write;

/// The `architectures` and `model_type` that are read, for refusals.
pub(crate) const KNOWN: &str = "LlamaForCausalLM (llama), MistralForCausalLM (mistral), Qwen2ForCausalLM (qwen2), \
     Qwen3ForCausalLM (qwen3), GPT2LMHeadModel (gpt2), BertModel and BertForSequenceClassification (bert), \
     RobertaModel and RobertaForSequenceClassification (roberta), XLMRobertaModel and \
     XLMRobertaForSequenceClassification (xlm-roberta)";

#[cfg(test)]
mod tests;
