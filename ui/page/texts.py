"""Every text of the page, in English and in Turkish. No markup and no logic beyond the choice of language."""

from __future__ import annotations

from typing import Final

from review_data.domain import Record
from review_data.severity import Severity


class Texts(Record):
    """One language's texts; names in braces are filled in."""

    lang: str
    tagline: str
    other: str
    other_lang: str
    tab_review: str
    tab_history: str
    tab_batch: str
    tab_model: str
    severities: dict[Severity, str]
    new: str
    percent: str
    patch: str
    patch_hint: str
    upload: str
    repository: str
    range: str
    range_hint: str
    from_repository: str
    options: str
    title: str
    backend: str
    adapter: str
    adapter_hint: str
    review: str
    sample: str
    empty: str
    waiting: str
    running: str
    chunks: str
    error: str
    nothing_given: str
    two_given: str
    not_found: str
    interrupted: str
    clean: str
    found: str
    partial: str
    failed: str
    threshold: str
    threshold_hint: str
    hidden: str
    suppressed: str
    none_shown: str
    more: str
    fix: str
    probabilities: str
    removed_line: str
    marked: str
    diff: str
    downloads: str
    copy_link: str
    copied: str
    verdict: str
    right: str
    wrong: str
    not_issue: str
    saved: str
    not_saved: str
    skipped: str
    not_reviewed: str
    missed: str
    missed_hint: str
    missed_saved: str
    missed_known: str
    file: str
    line: str
    category: str
    severity: str
    what: str
    send: str
    untitled: str
    search: str
    search_hint: str
    at_least: str
    any: str
    all_repositories: str
    find: str
    older: str
    history_empty: str
    trend: str
    trend_empty: str
    date: str
    outcome: str
    findings: str
    table: str
    batch_upload: str
    batch_ranges: str
    batch_ranges_hint: str
    batch_go: str
    batch_empty: str
    batch_done: str
    histogram: str
    model_empty: str
    confusion: str
    confusion_note: str
    reliability: str
    reliability_note: str
    learning: str
    learning_note: str
    card: str
    statuses: dict[str, str]
    outcomes: dict[str, str]


ENGLISH: Final = Texts(
    lang="en",
    tagline="Weighs what a merge request would do to production.",
    other="Türkçe",
    other_lang="tr",
    tab_review="Review",
    tab_history="History",
    tab_batch="Batch",
    tab_model="Model",
    severities={
        Severity.LOW: "low",
        Severity.MEDIUM: "medium",
        Severity.HIGH: "high",
        Severity.CRITICAL: "critical",
    },
    new="New review",
    percent="{n}%",
    patch="Patch",
    patch_hint="Paste the output of `git diff main...HEAD` here",
    upload="Or upload a .diff or .patch file",
    repository="Repository",
    range="Range",
    range_hint="main...my-branch",
    from_repository="Or review a range of a repository",
    options="Options",
    title="Title",
    backend="Backend",
    adapter="Adapter",
    adapter_hint="Name of a LoRA adapter, for backends that take one",
    review="Review",
    sample="Use a sample",
    empty="Findings appear here, the most severe first.",
    waiting="Waiting for its turn",
    running="Reviewing",
    chunks="{done} of {total} parts",
    error="This can't be reviewed",
    nothing_given="Paste a patch, upload a file, or choose a repository and a range.",
    two_given="Give one of the three: a patch, a file, or a repository with a range.",
    not_found="There is no review at this address; it may have been deleted after the retention time.",
    interrupted="The server was interrupted too often while it worked on this. Ask for the review again.",
    clean="Nothing found.",
    found="Findings: {n}",
    partial="Incomplete: a part of the change was not reviewed.",
    failed="Failed: nothing was reviewed.",
    threshold="Show from",
    threshold_hint="Least severity shown",
    hidden="Hidden by the threshold: {n}",
    suppressed="Suppressed by comments in the code: {n}",
    none_shown="Nothing at this severity or above.",
    more="{n} more findings are not drawn here; the downloads have them all.",
    fix="Fix",
    probabilities="How likely each severity is",
    removed_line="removed line",
    marked="the line of the finding",
    diff="Diff around the finding",
    downloads="Download",
    copy_link="Copy link",
    copied="Copied",
    verdict="Your verdict",
    right="Right",
    wrong="Wrong severity, it is…",
    not_issue="Not an issue",
    saved="Saved, thank you",
    not_saved="Not saved: {why}",
    skipped="Skipped on purpose: {n}",
    not_reviewed="Not reviewed: {n}",
    missed="Something is missing? Report a missed issue",
    missed_hint="The next training learns from it.",
    missed_saved="Saved. Report another one if there is one.",
    missed_known="Reported as missed: {n}",
    file="File",
    line="Line",
    category="Category",
    severity="Severity",
    what="What is wrong",
    send="Send",
    untitled="Untitled",
    search="Search",
    search_hint="Title, file or finding",
    at_least="At least",
    any="any",
    all_repositories="all",
    find="Search",
    older="Older reviews",
    history_empty="No review matches. Reviews that you ask for are kept here.",
    trend="Findings per day, last 30 days",
    trend_empty="No reviews in the last 30 days.",
    date="When",
    outcome="Outcome",
    findings="Findings",
    table="As a table",
    batch_upload="Patches",
    batch_ranges="Ranges, one per line",
    batch_ranges_hint="main...first-branch",
    batch_go="Review all",
    batch_empty="Upload several patches, or name several ranges; the most severe comes first.",
    batch_done="{done} of {total} reviewed",
    histogram="Findings by severity",
    model_empty="This server has no model folder to show. `terazi train severity` makes one.",
    confusion="Confusion matrix",
    confusion_note="Rows: what people labelled. Columns: what the model says.",
    reliability="Reliability",
    reliability_note="How often the model is right when it is this sure; the dashed line is perfect.",
    learning="Learning curves",
    learning_note="Training loss, and agreement (kappa) on the validation set, by epoch.",
    card="Model card",
    statuses={
        "queued": "waiting",
        "running": "running",
        "done": "done",
        "failed": "failed",
        "interrupted": "interrupted",
    },
    outcomes={"clean": "clean", "findings": "findings", "partial": "incomplete", "failed": "failed"},
)

TURKISH: Final = Texts(
    lang="tr",
    tagline="Bir birleştirme isteğinin canlı sisteme ne yapacağını tartar.",
    other="English",
    other_lang="en",
    tab_review="İnceleme",
    tab_history="Geçmiş",
    tab_batch="Toplu",
    tab_model="Model",
    severities={
        Severity.LOW: "düşük",
        Severity.MEDIUM: "orta",
        Severity.HIGH: "yüksek",
        Severity.CRITICAL: "kritik",
    },
    new="Yeni inceleme",
    percent="%{n}",
    patch="Yama",
    patch_hint="`git diff main...HEAD` çıktısını buraya yapıştırın",
    upload="Ya da .diff veya .patch dosyası yükleyin",
    repository="Depo",
    range="Aralık",
    range_hint="main...dalim",
    from_repository="Ya da bir deponun aralığını inceleyin",
    options="Seçenekler",
    title="Başlık",
    backend="Arka uç",
    adapter="Uyarlayıcı",
    adapter_hint="LoRA uyarlayıcısı kabul eden arka uçlar için adı",
    review="İncele",
    sample="Örnek kullan",
    empty="Bulgular burada, en ağırı başta görünür.",
    waiting="Sırasını bekliyor",
    running="İnceleniyor",
    chunks="{total} parçadan {done} tamam",
    error="Bu incelenemiyor",
    nothing_given="Bir yama yapıştırın, dosya yükleyin ya da depo ve aralık seçin.",
    two_given="Üçünden birini verin: yama, dosya ya da aralığıyla bir depo.",
    not_found="Bu adreste inceleme yok; saklama süresi dolduğu için silinmiş olabilir.",
    interrupted="Sunucu bu inceleme sırasında çok kez kesildi. İncelemeyi yeniden isteyin.",
    clean="Bulgu yok.",
    found="Bulgu sayısı: {n}",
    partial="Eksik: değişikliğin bir bölümü incelenmedi.",
    failed="Başarısız: hiçbir şey incelenmedi.",
    threshold="En az",
    threshold_hint="Gösterilen en düşük önem",
    hidden="Eşiğin gizlediği: {n}",
    suppressed="Koddaki yorumların bastırdığı: {n}",
    none_shown="Bu önemde ya da üstünde bulgu yok.",
    more="{n} bulgu daha burada çizilmedi; indirilen belgelerde hepsi var.",
    fix="Çözüm",
    probabilities="Her önem düzeyinin olasılığı",
    removed_line="silinen satır",
    marked="bulgunun satırı",
    diff="Bulgunun çevresindeki fark",
    downloads="İndir",
    copy_link="Bağlantıyı kopyala",
    copied="Kopyalandı",
    verdict="Sizin kararınız",
    right="Doğru",
    wrong="Önemi yanlış, doğrusu…",
    not_issue="Sorun değil",
    saved="Kaydedildi, teşekkürler",
    not_saved="Kaydedilemedi: {why}",
    skipped="Bilerek atlanan: {n}",
    not_reviewed="İncelenemeyen: {n}",
    missed="Eksik mi var? Gözden kaçan sorunu bildirin",
    missed_hint="Bir sonraki eğitim bundan öğrenir.",
    missed_saved="Kaydedildi. Başka varsa onu da bildirin.",
    missed_known="Gözden kaçtığı bildirilen: {n}",
    file="Dosya",
    line="Satır",
    category="Tür",
    severity="Önem",
    what="Sorun nedir",
    send="Gönder",
    untitled="Başlıksız",
    search="Ara",
    search_hint="Başlık, dosya ya da bulgu",
    at_least="En az",
    any="hepsi",
    all_repositories="hepsi",
    find="Ara",
    older="Daha eskiler",
    history_empty="Eşleşen inceleme yok. İstediğiniz incelemeler burada saklanır.",
    trend="Son 30 günde gün başına bulgular",
    trend_empty="Son 30 günde inceleme yok.",
    date="Ne zaman",
    outcome="Sonuç",
    findings="Bulgular",
    table="Tablo olarak",
    batch_upload="Yamalar",
    batch_ranges="Aralıklar, her satıra bir tane",
    batch_ranges_hint="main...ilk-dal",
    batch_go="Hepsini incele",
    batch_empty="Birkaç yama yükleyin ya da birkaç aralık yazın; en ağır olan başta gelir.",
    batch_done="{total} istekten {done} incelendi",
    histogram="Öneme göre bulgular",
    model_empty="Bu sunucuda gösterilecek model klasörü yok. `terazi train severity` bir tane üretir.",
    confusion="Karışıklık matrisi",
    confusion_note="Satırlar: insanların etiketi. Sütunlar: modelin dediği.",
    reliability="Güvenilirlik",
    reliability_note="Model bu kadar eminken ne sıklıkla haklı; kesikli çizgi kusursuzudur.",
    learning="Öğrenme eğrileri",
    learning_note="Devir başına eğitim kaybı ve doğrulama kümesindeki uyuşma (kappa).",
    card="Model kartı",
    statuses={
        "queued": "bekliyor",
        "running": "sürüyor",
        "done": "bitti",
        "failed": "başarısız",
        "interrupted": "kesildi",
    },
    outcomes={"clean": "temiz", "findings": "bulgular", "partial": "eksik", "failed": "başarısız"},
)

LANGUAGES: Final = {texts.lang: texts for texts in (ENGLISH, TURKISH)}


def preferred(accept_language: str) -> str:
    """The page's language for a browser's `Accept-Language`; English when it asks for neither."""
    for part in accept_language.lower().split(","):
        name = part.split(";")[0].strip().split("-")[0]
        if name in LANGUAGES:
            return name
    return "en"
